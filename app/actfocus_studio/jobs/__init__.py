"""Work in separate processes: rollouts, signals, experiments and what-ifs."""
