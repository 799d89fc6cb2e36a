"""The run picker: find a run, rename it, delete it and restore it."""
