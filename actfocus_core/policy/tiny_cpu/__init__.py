"""Fast paths for small models on a CPU."""
