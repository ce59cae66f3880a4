"""The networks that a worker measures, and the copies of them that are counted."""

from __future__ import annotations

import operator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from esrbench.entries.networks import code_sha256, load_network, makers
from esrbench.entries.structure import copied, elements, parameters
from esrbench.probes.forward import PixelConversion
from esrbench.probes.precision import (
    CompiledNetwork,
    adapt_input,
    adapt_network,
    cast_as_counted,
    counted_form,
)
from esrbench.probes.sameness import changed, tolerance, watched_otherwise
from esrbench.worker.messages import Ready

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from esrbench.probes.devices import ComputeDevice
    from esrbench.probes.precision import PolicyGuard
    from esrbench.protocol import Protocol
    from esrbench.worker.cuda_requests import CudaRequests
    from esrbench.worker.messages import Load, LoadSecond

    Image = npt.NDArray[np.uint8]

COMPARED_SIDE = 48
"""Of the LR image on which the counted copy must compute what the measured network does."""


@dataclass(frozen=True, slots=True)
class OpenedNetwork:
    """A network that is ready to be measured.

    Attributes:
        name: registered name.
        network: in the policy's form, as ``adapt_network`` returned it.
        guard: watches what the protocol fixes.
        conversion: between pixels and the network.
        ready: what the evaluator records of it.
    """

    name: str
    network: nn.Module
    guard: PolicyGuard
    conversion: PixelConversion
    ready: Ready


def open_network(
    request: Load | LoadSecond, device: ComputeDevice, requests: CudaRequests
) -> OpenedNetwork:
    """Build a network, load its weights and bring it into its form on a device.

    Raises:
        EsrbenchError: its weights do not fit, or its form is not to be had.
        Exception: whatever the network's code raises.
    """
    with requests.while_built():
        loaded = load_network(
            request.descriptor,
            request.scale,
            Path(request.weights_path) if request.weights_path else None,
            released=request.released,
            seed=request.protocol.seed,
        )
    count = len(parameters(loaded.network))
    conversion = PixelConversion.of(request.descriptor, request.scale, loaded.data_range)
    code = code_sha256(loaded.network, *makers(request.descriptor))
    network = adapt_network(loaded.network.to(device.device), request.protocol.forward)
    # First, since loading may have changed the number of threads.
    guard = device.guard(network)
    ready = Ready(
        parameters=count,
        threads=torch.get_num_threads(),
        cpus=device.cpus,
        accelerator=device.accelerator,
        libraries=dict(device.libraries),
        gpu_uuid=device.gpu_uuid,
        code_sha256=code,
        state_elements=loaded.state_elements,
        layout=loaded.layout,
        parameters_sha256=loaded.parameters_sha256,
        deployed_elements=sum(map(elements, parameters(written(network)))),
    )
    return OpenedNetwork(request.descriptor.name, network, guard, conversion, ready)


def written(network: nn.Module) -> nn.Module:
    """A network without the compiler around it."""
    return cast("nn.Module", network.network) if isinstance(network, CompiledNetwork) else network


@dataclass(slots=True)
class MeasuredNetwork:
    """A network in the form in which it is scored and timed.

    Attributes:
        network: as ``adapt_network`` returned it.
        protocol: settings.
        conversion: of its pixels.
        device: where it runs.
        min_lr_size: smallest side of the LR images that it takes.
        running: runs a forward, and leads what it asks of CUDA to the device.
        scored: the smallest LR image that was scored, with the output on the CPU.
    """

    network: nn.Module
    protocol: Protocol
    conversion: PixelConversion
    device: torch.device
    min_lr_size: int
    running: Callable[[Callable[[], Any]], Any] = operator.call
    scored: tuple[Image, torch.Tensor] | None = field(default=None, init=False)

    def copy(self) -> nn.Module:
        """A copy as it is counted: in float32 on the CPU, as the network is now."""
        # A forward may have kept tensors on the GPU, such as masks of its attention.
        attributes = None if self.device.type == "cpu" else _on_cpu
        form = partial(counted_form, self.protocol.forward)
        return copied(written(self.network), form, attributes=attributes)

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
        watched = partial(self._run_copy, self.copy())
        return watched_otherwise(partial(self._run, small), watched, pixels, share)

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
        return self.running(partial(self.network, self.input(lr)))

    def _run_copy(self, counted: nn.Module, pixels: torch.Tensor) -> object:
        with cast_as_counted(self.protocol.forward):
            return counted(pixels)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)
