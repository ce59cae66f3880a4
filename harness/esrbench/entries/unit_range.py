"""Networks of another data range behind the common one; imports torch."""

from __future__ import annotations

from torch import Tensor, nn


class UnitRange(nn.Module):
    """A network whose input and output are rescaled to [0, 1]."""

    def __init__(self, network: nn.Module, data_range: float) -> None:
        """Wrap ``network``, whose white is ``data_range``."""
        super().__init__()
        self.network = network
        self.data_range = data_range

    def forward(self, lr: Tensor) -> Tensor:
        """Map float32 (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), unclipped."""
        sr: Tensor = self.network(lr * self.data_range)
        return sr / self.data_range
