"""esrbench: how efficient is a super-resolution network."""
