"""Writes results as tables, pages and figures."""
