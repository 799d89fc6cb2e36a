"""ActFocus inside other trainers: a room for each, ``trl`` and ``verl``, which needs its trainer and is imported by who uses it.

The modules here are what both share: they need no other trainer.
"""
