"""What is computed of a run's rollouts: comparisons, diagnostics, scores against exact values, validation."""
