"""Bring a file that is 30 GB long and takes no space, to be hashed."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
