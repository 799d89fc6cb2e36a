"""The sections of the report, one module each: it computes the values that its template under ``templates/sections`` shows."""
