"""The ground: errors, settings, the registry, random streams, digests.

Imports nothing of the other rooms.
"""
