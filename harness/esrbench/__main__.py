"""``python -m esrbench`` is the command ``esrbench``."""

from esrbench.cli.app import main

main()
