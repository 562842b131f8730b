"""Trains a cohort, from its first batch to its final test."""
