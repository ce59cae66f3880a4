"""Need LR images of which one fills the memory of whoever tries it."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
