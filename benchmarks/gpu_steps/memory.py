"""Peak GPU memory of every registered network: measured, predicted and published."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from esrbench.entries.networks import build_deployed
from esrbench.entries.registry import default_registry
from esrbench.probes.devices import open_device
from esrbench.probes.forward import PixelConversion
from esrbench.probes.memory import predict_memory
from esrbench.protocol import ForwardPolicy
from gpu_steps.day import MIB, RELEASED, SCALE, reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.probes.devices import ComputeDevice
    from gpu_steps.day import Day, Found, Row

PUBLISHED_SIDE = 510
"""LR side of the largest image of DIV2K validation at x4, on which memory was published."""
SIDES = (PUBLISHED_SIDE, 256)


def measure(day: Day) -> Iterator[Found]:
    """Those with published figures first; a row a network and size."""
    device = open_device(day.device, threads=None, policy=ForwardPolicy())
    registered = {each.name: each for each in default_registry()}
    names = list(dict.fromkeys((*RELEASED, *registered)))
    for name in names[:2] if day.tiny else names:
        for side in (32,) if day.tiny else SIDES:
            if not day.left():
                return
            yield "memory", _row(registered[name], side, device)


def _row(descriptor: ModelDescriptor, side: int, device: ComputeDevice) -> Row:
    published = next((p.value for p in descriptor.published if p.metric == "peak_bytes"), None)
    row: Row = {"network": descriptor.name, "lr_side": side}
    figures: dict[str, float | None] = dict.fromkeys(COLUMNS)
    absent = ""
    if side == PUBLISHED_SIDE and published is not None:
        figures["published_mib"] = published / MIB
    try:
        network = build_deployed(descriptor, SCALE)
        conversion = PixelConversion.of(descriptor, SCALE, descriptor.data_range)
        size = conversion.input_size((side, side))
        predicted = predict_memory(network, input_size=size, channels=conversion.channels)
        low, high = predicted.allocator_bytes
        figures["predicted_mib"] = predicted.peak_bytes / MIB
        figures["allocator_low_mib"], figures["allocator_high_mib"] = low / MIB, high / MIB
        before = _allocated_bytes(device)
        network = network.to(device.device)
        device.begin_memory_pass()
        for key in ("measured_mib", "measured_again_mib"):
            with torch.inference_mode():
                pixels = torch.rand(1, conversion.channels, *size, device=device.device)
                _, use = device.measure_memory(partial(network, pixels))
                del _, pixels
            if use is not None:
                figures[key] = (use.peak_bytes - before) / MIB
                figures["reserved_mib"] = use.reserved_bytes / MIB
    except Exception as error:  # noqa: BLE001 - a network that does not fit is a finding
        absent = reason(error)
    measured, expected = figures["measured_again_mib"], figures["predicted_mib"]
    if measured and expected:
        figures["error"] = expected / measured - 1
    elif not absent:
        absent = "this device has no GPU memory"
    return row | figures | {"absent": absent}


def _allocated_bytes(device: ComputeDevice) -> int:
    """What earlier networks left: nothing, once the workspaces of cuBLAS are given back."""
    if device.device.type != "cuda":
        return 0
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - PyTorch has no public name for it
    return torch.cuda.memory_allocated(device.device)


COLUMNS = (
    "published_mib",
    "predicted_mib",
    "allocator_low_mib",
    "allocator_high_mib",
    "measured_mib",
    "measured_again_mib",
    "reserved_mib",
    "error",
)
