"""Sign by a name that hides itself and what comes after."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
