"""A challenge in one file: what it is, what it would run, and what it publishes."""
