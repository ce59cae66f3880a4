import torch
from common import Honest
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.scale = scale
        for name, parameter in Honest(scale).named_parameters():
            self.register_buffer(name.replace(".", "_"), parameter.detach())

    def forward(self, lr):
        features = functional.conv2d(lr, self.head_weight, self.head_bias, padding=1)
        features = torch.tanh(functional.conv2d(features, self.body_weight, padding=1))
        features = functional.conv2d(features, self.tail_weight, padding=1)
        return functional.pixel_shuffle(features, self.scale)
