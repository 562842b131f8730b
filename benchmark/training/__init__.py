"""One cohort, from its first batch to its test."""
