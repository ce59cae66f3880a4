"""Be made for another scale than the suite's."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
