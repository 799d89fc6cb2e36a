"""The Groups page: the action bottleneck live, and what a group is made of."""
