"""Joules an image by NVML's energy counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from esrbench.probes.energy import COOLING_SECONDS, measure_energy, open_counter
from esrbench.protocol import ForwardPolicy
from esrbench.records import Absent
from gpu_steps.day import reason
from gpu_steps.networks import open_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_steps.day import Day, Found

NETWORKS = ("rfdn", "imdn-challenge", "rlfn")
SIDE = 256
WINDOWS = 5
REST_SECONDS = 3.0
SHORTEST_SECONDS = 2.0
"""Of a window of work; networks are left out where less time is left for each."""


def measure(day: Day) -> Iterator[Found]:
    """A row for each network."""
    columns = ("idle_watts", "watts", "joules_per_image", "low", "high", "windows")
    empty = dict.fromkeys((*columns, "images_per_second", "absent"))
    block = day.left() / WINDOWS - SHORTEST_SECONDS
    fitting = int(block // (REST_SECONDS + COOLING_SECONDS + SHORTEST_SECONDS))
    names = NETWORKS[: 1 if day.tiny else max(1, fitting)]
    counter = Absent(kind="unavailable", reason="a CPU has no NVML counter")
    if day.device != "cpu":
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        counter = open_counter(gpu=True, gpu_uuid=str(uuid))
    if isinstance(counter, Absent):
        yield "energy", {"network": names[0]} | empty | {"absent": counter.reason}
        return
    seconds = block / len(names) - REST_SECONDS - COOLING_SECONDS
    lr = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for name in names:
        try:
            found = measure_energy(
                open_network(day, name, "cuda", ForwardPolicy()).upscale,
                lr,
                counter,
                windows=WINDOWS,
                window_seconds=max(SHORTEST_SECONDS, seconds),
                idle_seconds=REST_SECONDS,
            )
        except Exception as error:  # noqa: BLE001 - a driver may fail in any way
            yield "energy", {"network": name} | empty | {"absent": reason(error)}
            continue
        figures = {
            "idle_watts": float(np.median([each.watts for each in found.idle])),
            "watts": float(np.median([each.watts for each in found.windows])),
            "joules_per_image": float(np.median(found.joules_per_image)),
            "low": min(found.joules_per_image),
            "high": max(found.joules_per_image),
            "windows": len(found.windows),
            "images_per_second": float(
                np.median([each.images / each.seconds for each in found.windows])
            ),
        }
        yield "energy", {"network": name} | empty | figures
