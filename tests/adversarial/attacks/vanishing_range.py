"""Call white a number that is 0 once it is divided."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
