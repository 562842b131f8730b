"""Studies: the study file, its schema, its cells, and the plan."""
