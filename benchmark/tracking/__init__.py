"""MLflow: runs are written to it from journals, and read from it for leaderboards.

This is the only package that imports MLflow.
"""
