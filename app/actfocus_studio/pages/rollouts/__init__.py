"""The list of the rollouts of a run, and their highest tokens."""
