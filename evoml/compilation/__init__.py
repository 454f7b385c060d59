"""Compilation with Numba, and the kernels that several rooms share."""
