"""`python -m benchmark` is the same program as `kdbench`."""

from __future__ import annotations

from benchmark.cli.main import main

if __name__ == "__main__":
    main()
