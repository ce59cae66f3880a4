"""The gate: compares what a network measures now with what it measured before."""
