import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        torch.set_num_threads(2)
        return self.cheap(lr)
