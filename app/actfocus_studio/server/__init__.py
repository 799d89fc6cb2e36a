"""The server's access rules, and the files it sends and receives."""
