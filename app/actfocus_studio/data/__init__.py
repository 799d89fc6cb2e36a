"""What pages read: the runs, their batches and trajectories as JSON, and the view that the address bar holds."""
