"""What the studio's server lets through, and the files it sends and receives."""
