"""Announce half a gigabyte where no bytes are expected, and send none."""

from common import Honest, asked, tell
from torch import Tensor


class Net(Honest):
    def forward(self, lr: Tensor) -> Tensor:
        tell(event="done", sequence=asked()["sequence"], seconds=1e-6, payload_bytes=1 << 29)
        return self.honest(lr)
