"""Announce a terabyte after a frame that is none too long."""

from common import Honest, tell


class Net(Honest):
    def forward(self, lr):
        tell(event="settled", payload_bytes=1 << 40)
        return self.honest(lr)
