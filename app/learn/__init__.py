"""Lessons: read from YAML, judged with the numbers of the loaded run."""
