"""`python -m benchmark` is the same program as `kdbench`."""

from benchmark.cli import main

if __name__ == "__main__":
    main()
