"""Genotypes of which nothing more is known, as of a space written from the contract alone: their
text and their objectives.
"""

from evoml.report._kind import Kind


class Genotypes(Kind):
    """What is shown where no other kind is."""
