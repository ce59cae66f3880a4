import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        torch.set_autocast_enabled("cpu", True)
        return self.honest(lr)
