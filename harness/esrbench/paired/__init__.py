"""Two networks timed against each other in interleaved pairs; the command is ``esrbench race``."""
