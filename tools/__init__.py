"""Scripts for developers of kdbench."""
