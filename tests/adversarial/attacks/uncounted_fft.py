import torch
from common import Honest
from torch.nn import functional


class Net(Honest):
    def forward(self, lr):
        spectrum = torch.fft.rfft2(self.head(lr))
        kernel = torch.fft.rfft2(self.body.weight[:, :1], s=lr.shape[2:])
        features = torch.fft.irfft2(spectrum * kernel[None, :, 0], s=lr.shape[2:])
        return functional.pixel_shuffle(self.tail(features), self.scale)
