"""Plug-ins that bring ActFocus into other trainers: the packages ``trl`` and ``verl``, each of which imports its trainer.

The modules here are shared by both and import no other trainer.
"""
