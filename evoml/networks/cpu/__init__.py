"""Training and supernets on the CPU, by hand-made passes."""
