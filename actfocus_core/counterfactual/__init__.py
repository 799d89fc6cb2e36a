"""What would have happened: an update replayed, a turn branched, a reply edited."""
