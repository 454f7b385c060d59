"""python -m evoml"""

from evoml.cli import main

if __name__ == "__main__":
    main()
