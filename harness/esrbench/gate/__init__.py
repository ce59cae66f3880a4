"""The gate: what a network measured before against what it measures now."""
