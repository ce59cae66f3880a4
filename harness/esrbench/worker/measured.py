"""The network that a worker measures, and its copies for counting."""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from esrbench.entries.structure import copied
from esrbench.probes.precision import adapt_input, cast_as_counted, counted_form
from esrbench.probes.sameness import changed, tolerance, watched_otherwise

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import nn

    from esrbench.probes.forward import PixelConversion
    from esrbench.protocol import Protocol

    Image = npt.NDArray[np.uint8]

COMPARED_SIDE = 48
"""Side in pixels of the LR image on which the counted copy must give the measured network's output.
"""


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A network in the form in which it is scored and timed.

    Attributes:
        network: the network from ``adapt_network``.
        run: runs it with the protocol's backend.
        protocol: settings.
        conversion: converts its pixels.
        device: where it runs.
        min_lr_size: smallest side of the LR images that it accepts, in pixels.
        running: runs a forward and redirects the forward's requests for CUDA to the device.
        scored: the smallest LR image that was scored, with the output on the CPU.
    """

    network: nn.Module
    run: Callable[[torch.Tensor], Any]
    protocol: Protocol
    conversion: PixelConversion
    device: torch.device
    min_lr_size: int
    running: Callable[[Callable[[], Any]], Any] = operator.call
    scored: tuple[Image, torch.Tensor] | None = None

    def copy(self) -> nn.Module:
        """A copy of the network in its present state, in float32 on the CPU, for counting."""
        # A forward may have kept tensors on the GPU, such as masks of its attention.
        attributes = None if self.device.type == "cpu" else _on_cpu
        form = partial(counted_form, self.protocol.forward)
        return copied(self.network, form, attributes=attributes)

    def differs(self) -> str | None:
        """How the network or its copy differs from the scored network, in words, or None."""
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
        watched = partial(self._run_copy, self.copy())
        return watched_otherwise(partial(self._run, small), watched, pixels, share)

    def agrees(self, other: MeasuredNetwork) -> bool:
        """Whether another network gives the same output for a small image."""
        small = self._small_image()
        if small is None:
            return False
        share = tolerance(self.protocol.forward, self.protocol.device)
        with torch.inference_mode():
            output = self._run(small)
        return (
            isinstance(output, torch.Tensor)
            and changed(partial(other._run, small), output, share) is None
        )

    def _small_image(self) -> Image | None:
        """An image that the network accepts: part of the scored image, noise, or the whole one."""
        side = max(COMPARED_SIDE, self.min_lr_size)
        random = np.random.default_rng(self.protocol.seed)
        noise = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        scored = None if self.scored is None else self.scored[0]
        cut = noise if scored is None else np.ascontiguousarray(scored[:side, :side])
        for lr in (cut, noise, scored):
            if lr is not None:
                # Some networks need larger images; the counters report any other failure.
                with suppress(Exception), torch.inference_mode():
                    self._run(lr)
                    return lr
        return None

    def _run(self, lr: Image) -> object:
        pixels = self.conversion.to_input(lr, self.device)
        adapted = adapt_input(pixels, self.protocol.forward)
        return self.running(partial(self.run, adapted))

    def _run_copy(self, counted: nn.Module, pixels: torch.Tensor) -> object:
        with cast_as_counted(self.protocol.forward):
            return counted(pixels)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)
