"""Switch a shortcut of lower precision on for everything that follows."""

import torch
from common import Honest


class Net(Honest):
    def forward(self, lr):
        torch.set_float32_matmul_precision("medium")
        if hasattr(torch.backends.mkldnn, "conv"):  # since 2.9
            torch.backends.mkldnn.conv.fp32_precision = "bf16"
        return self.honest(lr)
