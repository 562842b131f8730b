"""The cells of a study: prepared, planned, and trained cohort by cohort."""
