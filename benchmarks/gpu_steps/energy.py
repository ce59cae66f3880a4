"""Joules an image by NVML's energy counter, and by its power polled meanwhile."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from esrbench.protocol import ForwardPolicy
from gpu_steps.day import reason
from gpu_steps.networks import WARM_UP, open_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gpu_steps.day import Day, Found

NETWORKS = ("rfdn", "imdn-challenge", "rlfn")
SIDE = 256
WINDOWS = 3
POLL_SECONDS = 0.02
COOLING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Window:
    """What one window of repeated forwards took.

    Attributes:
        seconds: of the window.
        joules: by the energy counter.
        watts: power as polled, in order.
        images: forwards made in it.
    """

    seconds: float
    joules: float
    watts: tuple[float, ...]
    images: int


def joules_per_image(windows: Sequence[Window], idle_watts: float) -> list[float]:
    """Energy above idle of one image, a figure a window.

    Args:
        windows: each with at least one image.
        idle_watts: power of the GPU with nothing to do.
    """
    return [(each.joules - idle_watts * each.seconds) / each.images for each in windows]


def polled_ratio(window: Window) -> float | None:
    """Energy by polled power over energy by the counter; None where either is missing."""
    if not window.watts or window.joules <= 0:
        return None
    return float(np.mean(window.watts)) * window.seconds / window.joules


def measure(day: Day) -> Iterator[Found]:
    """Idle first, then each network; a row each."""
    columns = ("watts", "joules_per_image", "low", "high", "windows", "images_per_second")
    empty = dict.fromkeys((*columns, "polled_over_counter", "absent"))
    names = NETWORKS[:1] if day.tiny else NETWORKS
    try:
        counter = _open_counter(day)
    except Exception as error:  # noqa: BLE001 - a driver may fail in any way
        yield "energy", {"network": "idle"} | empty | {"absent": reason(error)}
        return
    if counter is None:
        yield "energy", {"network": "idle"} | empty | {"absent": "a CPU has no NVML counter"}
        return
    share = day.left() / (WINDOWS * len(names) + 2)
    idle = counter.window(lambda: time.sleep(0.01), share, wait=lambda: None)
    idle_watts = idle.joules / idle.seconds
    figures: dict[str, object] = {"watts": idle_watts, "windows": 1}
    yield (
        "energy",
        {"network": "idle"} | empty | figures | {"polled_over_counter": polled_ratio(idle)},
    )
    for name in names:
        opened = open_network(day, name, "cuda", ForwardPolicy())
        lr = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        with torch.inference_mode():
            forward = partial(opened.network, opened.input(lr))
            for _ in range(WARM_UP):
                forward()
            windows = []
            for _ in range(WINDOWS):
                time.sleep(COOLING_SECONDS if day.left() > 2 * COOLING_SECONDS else 0)
                seconds = max(1.0, share - COOLING_SECONDS)
                windows.append(counter.window(forward, seconds, wait=torch.cuda.synchronize))
        found = joules_per_image(windows, idle_watts)
        ratios = [ratio for window in windows if (ratio := polled_ratio(window)) is not None]
        figures = {
            "watts": float(np.mean([w.joules / w.seconds for w in windows])),
            "joules_per_image": float(np.median(found)),
            "low": min(found),
            "high": max(found),
            "windows": len(windows),
            "images_per_second": sum(w.images for w in windows) / sum(w.seconds for w in windows),
            "polled_over_counter": float(np.mean(ratios)) if ratios else None,
        }
        yield "energy", {"network": name} | empty | figures


class _EnergyCounter:
    """NVML's energy and power of one GPU."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self.joules()

    def joules(self) -> float:
        """Energy since the driver was loaded."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3

    def window(
        self, work: Callable[[], object], seconds: float, *, wait: Callable[[], object]
    ) -> Window:
        """Repeat work for some seconds; both ends lie on a change of the counter."""
        watts: list[float] = []
        over = threading.Event()
        thread = threading.Thread(target=self._poll, args=(watts, over))
        images = 0
        first, start = self._at_change()
        thread.start()
        while time.perf_counter() - start < seconds:
            for _ in range(WARM_UP):
                work()
            wait()
            images += WARM_UP
        last, end = self._at_change()
        over.set()
        thread.join()
        return Window(end - start, last - first, tuple(watts), images)

    def _at_change(self) -> tuple[float, float]:
        """The counter right after it changed, and the time; it changes every 20 to 100 ms."""
        before = now = self.joules()
        latest = time.perf_counter() + 0.5
        while now == before and time.perf_counter() < latest:
            now = self.joules()
        return now, time.perf_counter()

    def _poll(self, watts: list[float], over: threading.Event) -> None:
        while not over.wait(POLL_SECONDS):
            watts.append(self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3)


def _open_counter(day: Day) -> _EnergyCounter | None:
    if day.device == "cpu":
        return None
    nvml = import_module("pynvml")
    nvml.nvmlInit()
    uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
    return _EnergyCounter(nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}"))
