"""The exponential moving average of a network's weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

_WARM = 10  # the average of a start counts for little: decay is (1 + n) / (10 + n) at first


class Average:
    """A copy of a network whose weights follow it slowly.

    Attributes:
        network: the copy.
        updates: steps followed.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Copy ``network``; ``decay`` is the share that a step leaves of the average."""
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Follow one step; buffers are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (_WARM + self.updates))
        averaged: list[Tensor] = [*self.network.parameters()]
        followed: list[Tensor] = [*network.parameters()]
        # One kernel instead of hundreds.
        torch._foreach_lerp_(averaged, followed, 1 - decay)
        for ours, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            ours.copy_(theirs)

    @torch.no_grad()
    def copy_into(self, network: nn.Module) -> None:
        """Give ``network`` the averaged weights."""
        network.load_state_dict(self.network.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"network": self.network.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.network.load_state_dict(state["network"])
        self.updates = state["updates"]
