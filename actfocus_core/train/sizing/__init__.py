"""Estimates of the memory, the devices and the time that a training run needs."""
