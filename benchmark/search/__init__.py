"""Searches settings with Optuna, and stores the results."""
