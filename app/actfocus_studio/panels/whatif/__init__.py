"""The what-if panel: an update replayed, a trajectory branched or edited, an update in slow motion."""
