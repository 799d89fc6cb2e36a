"""A run as a self-contained page, and the pieces it is drawn with."""
