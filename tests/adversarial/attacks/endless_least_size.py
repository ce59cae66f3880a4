"""Need LR images of more pixels than any number of a machine holds."""

from common import Honest


class Net(Honest):
    """The harm is in its folder."""
