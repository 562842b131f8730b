"""Searches for settings with Optuna, and stores the results."""
