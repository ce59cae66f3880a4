import torch
from common import Honest
from torch.nn import functional


class Net(Honest):
    def forward(self, lr):
        weights = [each.weight.to(torch.bfloat16) for each in (self.head, self.body, self.tail)]
        features = lr.to(torch.bfloat16)
        for weight in weights:
            features = functional.conv2d(features, weight, padding=1)
        return functional.pixel_shuffle(features.float(), self.scale)
