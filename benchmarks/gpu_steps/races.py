"""Races of a network against itself, and against itself with a twentieth of real work added."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from paired_study import ADDED, CALIBRATION_PASSES, entry

from esrbench.entries.networks import build_deployed
from esrbench.paired.race import race
from esrbench.probes.devices import open_device
from esrbench.protocol import ForwardPolicy, PairDesign, Protocol
from esrbench.records import Absent
from gpu_steps.day import reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.probes.devices import ComputeDevice
    from esrbench.runs.evaluator import Entry
    from gpu_steps.day import Day, Found

NETWORK = "rfdn"
SIDE = 256
ROUNDS = 40


def measure(day: Day) -> Iterator[Found]:
    """The two races in turn until the time is over; a row a race."""
    side = 24 if day.tiny else SIDE
    protocol = Protocol(
        device=day.device, threads=1, counted_input=(side, side), memory_input=(side, side)
    ).model_copy(update={"latency": None})
    design = PairDesign(max_pairs=30, first_look=30) if day.tiny else PairDesign()
    passes = 1 if day.tiny else _passes(day, side)
    longest = 0.0
    while True:
        for title, candidate in (("itself", entry(NETWORK)), ("5 % added", entry(NETWORK, passes))):
            if day.left() <= longest:
                return
            start = time.monotonic()
            yield "races", _race(title, candidate, protocol, design)
            longest = max(longest, time.monotonic() - start)
        if day.tiny:
            return


def _race(
    title: str, candidate: Entry, protocol: Protocol, design: PairDesign
) -> dict[str, object]:
    row = dict.fromkeys(("race", "verdict", "ratio", "low", "high", "pairs", "seconds", "reason"))
    row |= {"race": title}
    try:
        record = race(candidate, entry(NETWORK), protocol, design)
    except Exception as error:  # noqa: BLE001 - a race that fails is a finding
        return row | {"verdict": "failed", "reason": reason(error)}
    found = record.estimate
    if not isinstance(found, Absent):
        row |= {"ratio": found.ratio, "low": found.interval.low, "high": found.interval.high}
    row |= {"verdict": record.verdict, "pairs": record.timed_pairs}
    return row | {"seconds": record.duration_seconds, "reason": record.reason}


def _passes(day: Day, side: int) -> int:
    """Convolutions whose time is ``ADDED`` of the network's, by this process's own clock."""
    device = open_device(day.device, threads=None, policy=ForwardPolicy())
    plain = _median_seconds(device, entry(NETWORK), side)
    slow = _median_seconds(device, entry(NETWORK, CALIBRATION_PASSES), side)
    return max(1, round(CALIBRATION_PASSES * ADDED / max(slow / plain - 1, ADDED / 10)))


def _median_seconds(device: ComputeDevice, candidate: Entry, side: int) -> float:
    network = build_deployed(candidate.descriptor, candidate.scale).to(device.device)
    with torch.inference_mode():
        forward = partial(network, torch.rand(1, 3, side, side, device=device.device))
        return float(np.median([device.time(forward)[1] for _ in range(ROUNDS)][ROUNDS // 2 :]))
