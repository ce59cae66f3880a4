"""Measurements of one network in the process that runs it."""
