"""An honest network."""

from common import Honest as Net

__all__ = ["Net"]
