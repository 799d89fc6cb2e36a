"""Scoring a run with a reference model, from wherever weights are missing."""
