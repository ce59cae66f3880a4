"""Engines run the cells of a suite: here, on Slurm or on Ray. Each is one file."""
