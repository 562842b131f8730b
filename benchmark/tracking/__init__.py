"""MLflow: written from the journals, read for leaderboards."""
