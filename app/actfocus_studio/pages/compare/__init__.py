"""The Compare page: trajectories or schemes side by side, and tables of all schemes."""
