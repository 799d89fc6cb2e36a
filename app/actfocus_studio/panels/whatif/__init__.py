"""The What-if panel: replay an update, branch or edit a trajectory, walk through an update step by step."""
