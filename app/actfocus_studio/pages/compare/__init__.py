"""The Compare page: trajectories or schemes side by side, and all schemes in tables."""
