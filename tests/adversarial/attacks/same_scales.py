"""Declare one scale many times, to be measured as often."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
