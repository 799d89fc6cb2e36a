"""The Tune page: alpha and beta as a map, the signal's distribution, the setting as text."""
