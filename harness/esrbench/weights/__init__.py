"""Weights files: they are read as data, never as programs, then checked and converted."""
