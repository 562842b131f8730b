"""`python -m kdbench` is the same program as `kdbench`."""

from __future__ import annotations

import importlib

if __name__ == "__main__":
    importlib.import_module("kdbench.benchmark.cli.main").main()
