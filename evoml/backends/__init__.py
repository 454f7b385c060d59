"""Execution: with what programs run. One file a backend."""
