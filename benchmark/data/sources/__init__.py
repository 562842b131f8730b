"""Data sets by name, a file per kind of source."""
