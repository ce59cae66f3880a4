import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):  # noqa: ARG002 - it has no use for one
        kept = []
        while True:
            kept.append(torch.ones(1 << 26))
