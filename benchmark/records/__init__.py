"""The files of runs on disk: journals, checkpoints, weights."""
