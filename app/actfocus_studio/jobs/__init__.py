"""Work in processes of its own: rollouts, scores, experiments and what-ifs."""
