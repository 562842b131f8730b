"""The commands of the command line, by theme; `benchmark.cli` puts them in order."""
