"""evoml: evolve architectures and learning algorithms. Importing this imports neither torch nor numba."""

__version__ = "0.1.0"
