"""The network that a worker measures, and the copies of it that are counted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from esrbench.entries.structure import copied, elements, parameters
from esrbench.probes.precision import CompiledNetwork, adapt_input, counted_form
from esrbench.probes.sameness import changed, tolerance, watched_otherwise

if TYPE_CHECKING:
    import numpy.typing as npt

    from esrbench.probes.forward import PixelConversion
    from esrbench.protocol import Protocol

    Image = npt.NDArray[np.uint8]

COMPARED_SIDE = 48
"""Of the LR image on which the counted copy must compute what the measured network does."""


@dataclass(slots=True)
class MeasuredNetwork:
    """A network in the form in which it is scored and timed.

    Attributes:
        network: as ``adapt_network`` returned it.
        protocol: settings.
        conversion: of its pixels.
        device: where it runs.
        min_lr_size: smallest side of the LR images that it takes.
        scored: the smallest LR image that was scored, with the output on the CPU.
    """

    network: nn.Module
    protocol: Protocol
    conversion: PixelConversion
    device: torch.device
    min_lr_size: int
    scored: tuple[Image, torch.Tensor] | None = field(default=None, init=False)

    @property
    def written(self) -> nn.Module:
        """The network without the compiler around it."""
        if isinstance(self.network, CompiledNetwork):
            return cast("nn.Module", self.network.network)
        return self.network

    @property
    def parameter_elements(self) -> int:
        """Numbers in its distinct parameters."""
        return sum(map(elements, parameters(self.written)))

    def copy(self) -> nn.Module:
        """A copy as it is counted: in float32 on the CPU, as the network is now."""
        # A forward may have kept tensors on the GPU, such as masks of its attention.
        attributes = None if self.device.type == "cpu" else _on_cpu
        form = partial(counted_form, self.protocol.forward)
        return copied(self.written, form, attributes=attributes)

    def input(self, lr: Image, enlarged: Image | None = None) -> torch.Tensor:
        """The network's input, in the policy's form; arguments as of ``to_input``."""
        pixels = self.conversion.to_input(lr, self.device, enlarged)
        return adapt_input(pixels, self.protocol.forward)

    def keep(self, lr: Image, output: torch.Tensor) -> None:
        """Remember what was scored, if no smaller image was."""
        if self.scored is None or lr.size < self.scored[0].size:
            self.scored = (lr.copy(), output.detach().to("cpu", copy=True))

    def differs(self) -> str | None:
        """What the network, or its copy, does otherwise than when it was scored, in words."""
        share = tolerance(self.protocol.forward, self.protocol.device)
        if self.scored is not None:
            lr, output = self.scored
            differs = changed(partial(self._run, lr), output, share)
            if differs is not None:
                return differs
        small = self._small_image()
        if small is None:
            return None
        pixels = self.conversion.to_input(small, torch.device("cpu"))
        return watched_otherwise(partial(self._run, small), self.copy(), pixels, share)

    def _small_image(self) -> Image | None:
        """An image that the network takes: cut from one that was scored, noise, or that one."""
        side = max(COMPARED_SIDE, self.min_lr_size)
        random = np.random.default_rng(self.protocol.seed)
        noise = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        scored = None if self.scored is None else self.scored[0]
        cut = noise if scored is None else np.ascontiguousarray(scored[:side, :side])
        for lr in (cut, noise, scored):
            if lr is not None:
                # Some networks ask for larger images; any other failure the counters tell.
                with suppress(Exception), torch.inference_mode():
                    self._run(lr)
                    return lr
        return None

    def _run(self, lr: Image) -> object:
        return self.network(self.input(lr))


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)
