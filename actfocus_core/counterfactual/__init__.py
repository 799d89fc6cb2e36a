"""Counterfactuals: an update replayed, a turn branched, a reply edited."""
