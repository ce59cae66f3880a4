"""The ``esrbench`` command: one file a verb, no logic."""
