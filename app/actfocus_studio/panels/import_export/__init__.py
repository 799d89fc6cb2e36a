"""The import and export drawer."""
