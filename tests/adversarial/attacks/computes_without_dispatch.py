"""Switch the dispatcher's modes off while the work is done."""

from common import Honest
from torch.utils._python_dispatch import _disable_current_modes


class Net(Honest):
    def forward(self, lr):
        lr.tolist()
        with _disable_current_modes():
            return self.honest(lr)
