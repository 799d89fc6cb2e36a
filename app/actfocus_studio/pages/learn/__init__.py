"""The Learn page: lessons read from YAML; answers are checked against values of the loaded run."""
