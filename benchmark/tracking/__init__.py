"""Writes runs to MLflow from journals, and reads them for leaderboards.

This is the only package that imports MLflow.
"""
