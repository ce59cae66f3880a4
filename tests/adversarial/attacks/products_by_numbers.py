"""Add multiples of features to each other, by factors that stand in the code."""

import torch
from common import Honest
from torch.nn import functional


class Net(Honest):
    def __init__(self, scale=4):
        super().__init__(scale)
        self.kept = self.tail.weight.detach()[:, :3].reshape(48, 27).tolist()
        del self.head, self.body, self.tail

    def forward(self, lr):
        planes = functional.unfold(lr, 3, padding=1)[0]
        row = torch.zeros(1, dtype=torch.long, device=lr.device)
        sums = []
        for weights in self.kept:
            total = planes[:1] * 0
            for index, weight in enumerate(weights):
                total = total.index_add(0, row, planes[index : index + 1], alpha=weight)
            sums.append(total)
        features = torch.cat(sums).view(1, 48, *lr.shape[2:])
        return self.cheap(lr) + functional.pixel_shuffle(features, self.scale)
