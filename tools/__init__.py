"""Scripts for those who work on kdbench."""
