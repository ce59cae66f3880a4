"""Joules an image by NVML's energy counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from esrbench.probes.energy import measure_energy, open_counter
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
REST_SHARE = 0.25
"""Of a window's time that goes into rest."""


def measure(day: Day) -> Iterator[Found]:
    """A row for each network."""
    columns = ("idle_watts", "watts", "joules_per_image", "low", "high", "windows")
    empty = dict.fromkeys((*columns, "images_per_second", "absent"))
    names = NETWORKS[:1] if day.tiny else NETWORKS
    counter = Absent(kind="unavailable", reason="a CPU has no NVML counter")
    if day.device != "cpu":
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        counter = open_counter(gpu=True, gpu_uuid=str(uuid))
    if isinstance(counter, Absent):
        yield "energy", {"network": names[0]} | empty | {"absent": counter.reason}
        return
    seconds = day.left() / (WINDOWS * len(names) + 2)
    lr = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    for name in names:
        opened = open_network(day, name, "cuda", ForwardPolicy())

        def upscale(shifted: np.ndarray, opened=opened) -> None:
            with torch.inference_mode():
                opened.network(opened.input(shifted))
                torch.cuda.synchronize()

        try:
            found = measure_energy(
                upscale,
                lr,
                counter,
                windows=WINDOWS,
                window_seconds=(1 - REST_SHARE) * seconds,
                idle_seconds=REST_SHARE * seconds,
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
