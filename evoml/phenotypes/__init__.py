"""What genotypes become: programs to interpret, networks to train, graphs of neurons."""
