"""What a training run needs: memory, devices, time."""
