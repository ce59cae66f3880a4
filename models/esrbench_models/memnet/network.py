"""MemNet: A Persistent Memory Network for Image Restoration.

Paper: ICCV 2017. On the luma x of an image that bicubic interpolation has enlarged already, with
M = 6 memory blocks of R = 6 recursions (M6R6) and n = 64 channels:

    b_0 = Conv3x3(x)                                       1 -> n
    b_m = Memory_m(b_0..b_{m-1})                           m = 1..M
    SR = x + Conv3x3(ReLU(b_M))                            n -> 1

    Memory_m, h_0 = b_{m-1}:
        h_r = h_{r-1} + Conv3x3_b(ReLU(Conv3x3_a(ReLU(h_{r-1}))))   n -> n -> n, r = 1..R,
                                                           weights shared within the block
        b_m = Conv1x1(ReLU(concat(h_1..h_R, b_0..b_{m-1})))         (R + m)*n -> n, the gate

The network maps float32 (N, 1, H, W) in [0, 1] to the same shape, unclipped, at any size; the
scale is that of the enlargement and no layer depends on it.

It has 678 209 parameters, of which 1 217 are biases. The AIDN paper prints 678K at x2 and x3, which
includes the biases, and 677K at x4, which is the 676 992 weights alone.

Differences from the authors' release: it has no batch normalisation and one output, from b_M.
The release has a batch normalisation before every ReLU and, with a ReLU, before the first
convolution. It reconstructs an image from every b_m and adds them by six learned weights. Published
parameters and FLOPs leave out both.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from esrbench_models.blocks import conv


class MemoryBlock(nn.Module):
    """A recursive residual unit and the gate over all that is remembered."""

    def __init__(self, channels: int, recursions: int, remembered: int) -> None:
        """Gate ``recursions`` short-term and ``remembered`` long-term states."""
        super().__init__()
        self.recursions = recursions
        self.unit1 = conv(channels, channels, 3)
        self.unit2 = conv(channels, channels, 3)
        self.gate = conv((recursions + remembered) * channels, channels, 1)
        self.phi = nn.ReLU()

    def forward(self, memory: list[Tensor]) -> Tensor:
        """Map the states b_0..b_{m-1}, each (N, C, H, W), to the next one."""
        state, states = memory[-1], []
        for _ in range(self.recursions):
            state = state + self.unit2(self.phi(self.unit1(self.phi(state))))
            states.append(state)
        out: Tensor = self.gate(self.phi(torch.cat((*states, *memory), dim=1)))
        return out


class MemNet(nn.Module):
    """Persistent memory network; see the module's docstring."""

    def __init__(
        self, scale: int = 4, *, blocks: int = 6, recursions: int = 6, channels: int = 64
    ) -> None:
        """Build with random weights.

        Args:
            scale: factor by which the input was enlarged.
            blocks: number M of memory blocks.
            recursions: number R of applications of a block's unit.
            channels: width n.
        """
        super().__init__()
        self.scale = scale
        self.head = conv(1, channels, 3)
        self.blocks = nn.ModuleList(
            MemoryBlock(channels, recursions, number) for number in range(1, blocks + 1)
        )
        self.tail = conv(channels, 1, 3)
        self.phi = nn.ReLU()

    def forward(self, enlarged: Tensor) -> Tensor:
        """Map enlarged luma (N, 1, H, W) to SR of the same shape."""
        memory = [self.head(enlarged)]
        for block in self.blocks:
            memory.append(block(memory))
        sr: Tensor = enlarged + self.tail(self.phi(memory[-1]))
        return sr
