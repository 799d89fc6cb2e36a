"""What-ifs: the worker process that computes them, and their stored results."""
