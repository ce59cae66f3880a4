"""Bring more files than anyone counts."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
