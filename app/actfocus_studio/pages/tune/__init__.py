"""The Tune page: maps over alpha and beta, the distribution of the signal, and export of the setting."""
