"""The Learn page: lessons read from YAML, answers judged with the numbers of the loaded run."""
