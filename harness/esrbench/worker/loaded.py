"""A network that a worker has loaded, and how it upscales images, timed and untimed.

Runs in every interpreter that a worker may have: Python 3.8, torch 1.13, numpy and nothing else.
"""

from __future__ import annotations

import importlib
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from esrbench.backends import Setting, get_backend
from esrbench.entries.building import LoadedNetwork, build, code_sha256, deploy_adapted, makers
from esrbench.entries.structure import elements, parameters, parameters_sha256, state_elements
from esrbench.errors import MeasurementError, RegistrationError
from esrbench.probes.devices import open_device
from esrbench.probes.forward import PixelConversion
from esrbench.probes.precision import adapt_input, adapt_network
from esrbench.weights.loading import load_into
from esrbench.weights.plain import read_plain
from esrbench.weights.state_dicts import shown
from esrbench.worker.cuda_requests import CudaRequests

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import SimpleNamespace

    import numpy as np
    import numpy.typing as npt
    from torch import nn

    from esrbench.probes.devices import ComputeDevice
    from esrbench.probes.precision import PolicyGuard
    from esrbench.worker.pixels import PixelAreas

    Image = npt.NDArray[np.uint8]
    Request = SimpleNamespace
    """A request with its fields as attributes, as ``esrbench.worker.messages`` defines them."""
    Loader = Callable[[Request], LoadedNetwork]


MOST_LISTED = 20
"""Names that ``WeightsLayout`` lists."""


class ContenderError(Exception):
    """One of two networks failed.

    Attributes:
        who: name of the network.
        cause: the error that it raised.
    """

    def __init__(self, who: str, cause: Exception) -> None:
        super().__init__(f"{who}: {cause}")
        self.who = who
        self.cause = cause


@dataclass(frozen=True)
class OpenedNetwork:
    """A network that is ready to be measured.

    Attributes:
        name: registered name.
        network: the network in the policy's form, from ``adapt_network``.
        run: runs it with the policy's backend; same input and output as the network.
        guard: checks the settings that the protocol fixes.
        conversion: converts between pixels and the network's tensors.
        ready: the answer to its request, which the evaluator records.
    """

    name: str
    network: nn.Module
    run: Callable[[torch.Tensor], Any]
    guard: PolicyGuard
    conversion: PixelConversion
    ready: dict[str, Any]


def open_network(
    request: Request, device: ComputeDevice, requests: CudaRequests, load: Loader
) -> OpenedNetwork:
    """Load a network and bring it into its form on a device.

    Args:
        request: ``Load`` or ``LoadSecond``.
        device: where it runs.
        requests: redirects the network's requests for CUDA to that device.
        load: builds the network and loads its weights.

    Raises:
        EsrbenchError: its weights do not fit, or the policy's form is not possible.
        Exception: any error of the network's code.
    """
    with requests.while_built():
        loaded = load(request)
    count = len(parameters(loaded.network))
    conversion = PixelConversion.of(request.descriptor, request.scale, loaded.data_range)
    code = code_sha256(loaded.network, *makers(request.descriptor))
    policy = request.protocol.forward
    network = adapt_network(loaded.network.to(device.device), policy)
    backend = get_backend(policy.backend)
    lacks = backend.missing(torch.__version__)
    if lacks:
        raise MeasurementError(lacks[0], advice=lacks[1])
    start = time.perf_counter()
    opened = backend.open(
        network,
        Setting(
            device=device.device,
            threads=device.threads,
            scale=conversion.scale if conversion.input == "lr" else 1,
            precision=policy.precision,
            graph=Path(request.graph) if request.graph else None,
        ),
    )
    opening = {
        "versions": dict(opened.versions),
        "options": dict(opened.options),
        "load_seconds": time.perf_counter() - start,
    }
    # Do this first, because loading may have changed the number of threads.
    guard = device.guard(network)
    ready = {
        "event": "ready",
        "parameters": count,
        "threads": torch.get_num_threads(),
        "cpus": list(device.cpus),
        "accelerator": device.accelerator,
        "libraries": dict(device.libraries),
        "gpu_uuid": device.gpu_uuid,
        "code_sha256": code,
        "state_elements": loaded.state_elements,
        "layout": loaded.layout,
        "parameters_sha256": loaded.parameters_sha256,
        "deployed_elements": sum(map(elements, parameters(network))),
        "opening": opening,
    }
    return OpenedNetwork(request.descriptor.name, network, opened.run, guard, conversion, ready)


def load_converted(request: Request, content: bytes) -> LoadedNetwork:
    """Build a network and load weights that the harness has converted.

    Args:
        request: ``Load`` or ``LoadSecond``.
        content: a safetensors file under the network's own names; empty for random weights.

    Raises:
        RegistrationError: the factory or the hook does not exist, or returns a wrong type.
        WeightsError: the weights do not fit.
    """
    descriptor = request.descriptor
    _without_descriptors(descriptor.factory)
    try:
        network = build(descriptor, request.scale, seed=request.protocol.seed)
    except ModuleNotFoundError as error:
        if not descriptor.requirements:
            raise
        message = f"{descriptor.name}: {error}; it declares {', '.join(descriptor.requirements)}"
        advice = "If you trust them, install these requirements in the environment it runs in."
        raise RegistrationError(message, advice=advice) from error
    values = layout = None
    declared = request.released or {}
    if declared.get("loaded_by"):
        values, layout = parameters_sha256(network), {"loaded_by": declared["loaded_by"]}
    if content:
        patterns = declared.get("ignore", ())
        state = read_plain(content)
        ignored = load_into(network, state, source=request.weights_path, ignore=patterns)
        values = parameters_sha256(network)
        if ignored:
            listed = [shown(name) for name in ignored[:MOST_LISTED]]
            layout = {"key": None, "prefix": "", "ignored": listed, "ignored_count": len(ignored)}
    data_range = declared.get("data_range", descriptor.data_range)
    held = state_elements(network)
    adapted = deploy_adapted(descriptor, network, request.scale)
    return LoadedNetwork(adapted, data_range, held, layout, values)


def _without_descriptors(target: str) -> None:
    """Let a network of esrbench be imported without the descriptors of its package.

    The descriptors need packages that an entry's environment lacks.

    Args:
        target: target of the network's factory.
    """
    package = target.rpartition(":")[0].rpartition(".")[0]
    top, _, name = package.partition(".")
    if top == "esrbench_models" and name and package not in sys.modules:
        bare = ModuleType(package)
        bare.__path__ = [str(Path(importlib.import_module(top).__path__[0], name))]
        sys.modules[package] = bare


class Worker:
    """A loaded network; it answers the requests about this network.

    Args:
        load: the request with the network and how it is measured.
        areas: shared memory for LR and SR pixels.
        loader: builds the network and loads its weights.

    Attributes:
        scored: the smallest LR image that was scored, with the output on the CPU.
    """

    def __init__(self, load: Request, areas: PixelAreas, loader: Loader) -> None:
        self.areas = areas
        self.load, self.loader = load, loader
        self.policy = load.protocol.forward
        torch.manual_seed(load.protocol.seed)
        self.device: ComputeDevice = open_device(
            load.protocol.device, threads=load.protocol.threads, policy=self.policy
        )
        self.requests = CudaRequests(self.device.device)
        self.opened = open_network(load, self.device, self.requests, loader)
        self.run, self.conversion = self.opened.run, self.opened.conversion
        self.guard = self.opened.guard
        self.device.begin_memory_pass()
        self.images: list[dict[str, Any]] = []
        self.scored: tuple[Image, torch.Tensor] | None = None

    def upscale(self, request: Request) -> dict[str, Any]:
        """Upscale one image by one forward, and measure its memory."""
        lr = self.areas.lr(request.lr_size)
        with torch.inference_mode():
            enlarged = self._enlarged(request.lr_size)
            pixels = self._input(lr, enlarged)
            forward = partial(self.device.measure_memory, partial(self.run, pixels))
            output, usage = self.requests.running(forward)
            self.guard.verify()
            sr = self.conversion.validate(output, request.lr_size)
            self.areas.deliver(self.conversion.to_pixels(sr, lr, enlarged))
            # Not every torch finds extremes of half precision on a CPU.
            precise = sr.to(torch.promote_types(sr.dtype, torch.float32))
            low, high = (float(each) for each in precise.aminmax())
            if self.scored is None or lr.size < self.scored[0].size:
                self.scored = (lr.copy(), sr.detach().to("cpu", copy=True))
        if usage is not None:
            self.images.append(
                {
                    "image": request.input_name,
                    "lr_size": request.lr_size,
                    "input_bytes": pixels.numel() * pixels.element_size(),
                    "output_bytes": sr.numel() * sr.element_size(),
                    "peak_bytes": usage.peak_bytes,
                    "peak_reserved_bytes": usage.reserved_bytes,
                }
            )
        return {"event": "settled", "output_range": [low, high]}

    def forward(self, request: Request, answer: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Upscale one image with the least overhead, and then check the state after the forward.

        Args:
            request: request with the image size.
            answer: sends ``Done``.
        """
        lr = self.areas.lr(request.lr_size)
        with torch.inference_mode():
            enlarged = self._enlarged(request.lr_size)
            pixels = self._input(lr, enlarged)
            forward = partial(self.device.time, partial(self.run, pixels))
            output, seconds = self.requests.running(forward)
            try:
                sr = self.conversion.to_pixels(output, lr, enlarged)
            except Exception:
                # An output that cannot become pixels is not an SR image; validation says why.
                self.conversion.validate(output, request.lr_size)
                raise
            height, width = request.lr_size
            if sr.shape != (height * self.load.scale, width * self.load.scale, 3):
                self.conversion.validate(output, request.lr_size)
            self.areas.deliver(sr)
            answer({"event": "done", "sequence": request.sequence, "seconds": seconds})
            self.guard.verify()
            self.conversion.validate(output, request.lr_size)
        return {"event": "settled"}

    def input_of(self, lr_size: tuple[int, int]) -> torch.Tensor:
        """A copy of the LR image as the network's input, (1, C, H, W), on the CPU."""
        pixels = self._input(self.areas.lr(lr_size), self._enlarged(lr_size))
        return pixels.to("cpu", copy=True)

    def read_memory(self) -> dict[str, Any]:
        """Memory that the upscaled images have needed."""
        return self.device.end_memory_pass(self.images)

    def _input(self, lr: Image, enlarged: Image | None) -> torch.Tensor:
        """The network's input, in the policy's form; see ``to_input``."""
        pixels = self.conversion.to_input(lr, self.device.device, enlarged)
        return adapt_input(pixels, self.policy)

    def _enlarged(self, lr_size: tuple[int, int]) -> Image | None:
        """The enlarged LR image from the evaluator, if the network needs it."""
        return self.areas.enlarged(lr_size, self.load.scale) if self.conversion.enlarges else None
