"""What lies on disk of a run: journals, checkpoints, weights."""
