"""Engines: where the cells of a suite are made. Each is one file."""
