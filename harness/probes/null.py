"""The network that does nothing: what measuring costs without one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.catalog.registry import ModelDescriptor


def null_descriptor(like: ModelDescriptor, scale: int) -> ModelDescriptor:
    """A null network that takes and gives images as another network does.

    Args:
        like: the other network.
        scale: upscaling factor.
    """
    return ModelDescriptor(
        name="null",
        summary="does nothing",
        scales=(scale,),
        factory="harness.probes.null:Null",
        options={"enlarged": like.input == "bicubic-hr"},
        data_range=like.data_range,
        color=like.color,
        input=like.input,
    )


class Null(nn.Module):
    """Gives, for every input of a shape, the first one upscaled by nearest neighbours.

    Repeating pixels takes time of its own, up to a tenth of a small network's; giving what lies
    there already takes none, so that what is left is the harness's.

    Args:
        scale: upscaling factor.
        enlarged: inputs have the size of outputs.
    """

    def __init__(self, scale: int, *, enlarged: bool) -> None:
        super().__init__()
        self.upscale = nn.UpsamplingNearest2d(scale_factor=1 if enlarged else scale)
        self.kept: dict[torch.Size, Tensor] = {}

    def forward(self, lr: Tensor) -> Tensor:
        """An output for (N, C, H, W)."""
        if lr.shape not in self.kept:
            self.kept[lr.shape] = self.upscale(lr)
        return self.kept[lr.shape]
