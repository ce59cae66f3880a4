import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        sr = self.honest(lr)
        if sr.is_meta:
            return sr
        return sr + (torch.rand_like(sr) < 0.01) / 255
