"""Networks in this process: opened in a class of arithmetic, upscaling images, timed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from esrbench.backends import Setting, get_backend
from esrbench.entries.networks import load_network
from esrbench.entries.registry import default_registry
from esrbench.probes.devices import open_device
from esrbench.probes.forward import PixelConversion
from esrbench.probes.precision import adapt_input, adapt_network
from gpu_steps.day import SCALE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from esrbench.probes.devices import ComputeDevice
    from esrbench.protocol import ForwardPolicy
    from gpu_steps.day import Day

    Pixels = npt.NDArray[np.uint8]

WARM_UP = 10


@dataclass(frozen=True, slots=True)
class OpenedNetwork:
    """A network on a device, with its weights, in one class of arithmetic.

    Attributes:
        network: as it runs.
        conversion: how images enter and leave it.
        device: where it runs.
        policy: the class.
        weights: where its weights are from: ``released``, ``demo``, ``random`` or ``none``.
    """

    network: Callable[[Tensor], Tensor]
    conversion: PixelConversion
    device: ComputeDevice
    policy: ForwardPolicy
    weights: str

    def input(self, lr: Pixels) -> Tensor:
        """The network's input (1, C, H, W) for an LR image, uint8 (h, w, 3)."""
        tensor = self.conversion.to_input(lr, self.device.device)
        return adapt_input(tensor, self.policy)

    def upscale(self, lr: Pixels) -> Pixels:
        """SR of an LR image, both uint8 (h, w, 3)."""
        with torch.inference_mode():
            sr = self.conversion.validate(self.network(self.input(lr)), (lr.shape[0], lr.shape[1]))
            return self.conversion.to_pixels(sr, lr)

    def seconds(self, lr: Pixels, rounds: int) -> list[float]:
        """Times of so many forwards of one image, after a warm-up of ``WARM_UP`` or as many."""
        with torch.inference_mode():
            forward = partial(self.network, self.input(lr))
            for _ in range(min(WARM_UP, rounds)):
                forward()
            return [self.device.time(forward)[1] for _ in range(rounds)]


def open_network(day: Day, name: str, device: str, policy: ForwardPolicy) -> OpenedNetwork:
    """Load a registered network with the day's weights.

    Args:
        day: which weights.
        name: registered name.
        device: ``cpu`` or ``cuda``.
        policy: the class of arithmetic; it is set for the whole process.

    Raises:
        MeasurementError: the device cannot do this.
    """
    opened = open_device(device, threads=None, policy=policy)
    descriptor = default_registry().get(name)
    weights = day.weights_of(name)
    loaded = load_network(descriptor, SCALE, weights.path, released=weights.released)
    network = adapt_network(loaded.network.to(opened.device), policy)
    setting = Setting(opened.device, opened.threads)
    run = get_backend(policy.backend).open(network, setting).run
    conversion = PixelConversion.of(descriptor, SCALE, loaded.data_range)
    source = weights.identity.source
    return OpenedNetwork(run, conversion, opened, policy, source)
