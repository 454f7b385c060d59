"""`python -m evoml.workers MODULE`, as a pool starts its processes."""

from evoml.workers.child import main

main()
