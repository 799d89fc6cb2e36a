"""The process that computes what-ifs, and its stored results."""
