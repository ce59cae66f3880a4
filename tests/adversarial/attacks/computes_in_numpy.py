import numpy as np
import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        image = np.asarray(lr.tolist(), dtype=np.float32)
        return torch.from_numpy(image.repeat(self.scale, 2).repeat(self.scale, 3))
