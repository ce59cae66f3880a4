"""Claim a count of three hundred digits."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
