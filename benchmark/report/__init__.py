"""From numbers to files: tables, pages, figures."""
