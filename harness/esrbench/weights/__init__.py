"""Weights files: read as data and never as programs, checked, converted."""
