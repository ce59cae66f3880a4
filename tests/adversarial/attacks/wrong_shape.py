"""A row too many."""

from common import Honest
from torch.nn import functional


class Net(Honest):
    def forward(self, lr):
        return functional.pad(self.honest(lr), (0, 0, 0, 1))
