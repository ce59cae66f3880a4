"""Every edition of the challenges as one declarative object a file."""
