"""The sections of the report, one module each. Every section returns HTML in which text from the run is escaped."""
