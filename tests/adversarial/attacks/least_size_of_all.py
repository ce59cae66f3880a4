"""Need larger images than there are in the suite."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
