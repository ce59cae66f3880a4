"""A challenge in one file: its settings, its plan, and what it publishes."""
