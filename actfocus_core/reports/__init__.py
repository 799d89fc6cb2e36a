"""A run as a page that stands alone, and the pieces it is drawn with."""
