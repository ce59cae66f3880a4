"""Print a line without end that holds commands, and die, so that it is quoted."""

import os

from common import Honest


class Net(Honest):
    def forward(self, lr):
        os.write(2, b"\n  ::add-mask::a \x1b[2J\xe2\x80\xae\xff" + b"x" * 60_000 + b"\n")
        os._exit(lr.ndim)
