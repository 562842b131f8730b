"""Computes tables from runs, using only NumPy, pandas and SciPy."""
