"""Processes that evaluate candidates."""
