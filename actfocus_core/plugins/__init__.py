"""ActFocus inside other trainers. Each module needs its trainer, and is imported by who uses it."""
