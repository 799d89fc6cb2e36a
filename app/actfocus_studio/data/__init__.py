"""The data of the pages: runs, their batches and trajectories as JSON, and the view that the address encodes."""
