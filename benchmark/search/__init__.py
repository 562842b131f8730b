"""Searches settings with Optuna, and keeps what the searches found."""
