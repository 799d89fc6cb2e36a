"""Analyses of the rollouts of a run: scheme comparison, diagnostics, scoring against true values, validation."""
