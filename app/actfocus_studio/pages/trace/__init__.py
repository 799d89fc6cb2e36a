"""The Trace page: one trajectory, every token with its kind, its weight and its signals."""
