"""The resolution of this machine: a race of a network against its own copy.

The module is run in a process of its own, prepared as a worker is, so that threads, memory
allocator and arithmetic are those of a run.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

from esrbench.devices import selection
from esrbench.doctor.check import judged, percent
from esrbench.environment import MALLOC_SETTINGS, WORKER_VARIABLE, own_packages
from esrbench.protocol import PairDesign
from esrbench.records import Absent, Diagnosis
from esrbench.statistics import estimate_ratio, half_width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from esrbench.doctor.check import Machine
    from esrbench.protocol import Device

PAIRS = 60
FEWEST_PAIRS = 20
BATCH = 10
DISCARDED_PAIRS = 5
BUDGET_SECONDS = 4.0
"""Of pairs; a machine in heavy use makes ``FEWEST_PAIRS`` of them all the same."""
LR_SIZE = (64, 64)
WIDTH = 48
"""Channels; with ``LR_SIZE`` a forward is 0.26 GMACs, some milliseconds on CPUs."""
DESIGN = PairDesign()
TIMEOUT_SECONDS = 120.0


def check_resolution(machine: Machine, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Diagnosis:
    """Race a small network against its own copy, pair by pair."""
    own = str(own_packages()["esrbench"].parent)
    try:
        done = subprocess.run(  # noqa: S603 - our own module, no shell
            [sys.executable, "-P", "-m", __name__, machine.device],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env={
                **machine.variables,
                **selection(machine.device, machine.gpu, machine.variables),
                **MALLOC_SETTINGS,
                "PYTHONPATH": os.pathsep.join([own, *(path or "." for path in sys.path)]),
                WORKER_VARIABLE: "1",
            },
        )
    except subprocess.TimeoutExpired:
        return _failed(f"a small network was not timed in {timeout_seconds:g} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        # Below it stands the advice.
        raised = re.findall(r"^[\w.]+Error: (.+)", done.stderr, re.MULTILINE)
        return _failed(f"the self-check failed: {(raised or lines)[-1]}")
    pairs = [(first, second) for first, second in json.loads(done.stdout)]
    return judge_resolution(pairs)


def judge_resolution(pairs: Sequence[tuple[float, float]]) -> Diagnosis:
    """The findings about the machine from pairs of equal networks.

    The half-width of the interval falls with the square root of the number of pairs, as far
    as pairs are independent.

    Args:
        pairs: seconds of a network and of its copy.
    """
    estimate = estimate_ratio(pairs, DESIGN.z)
    if isinstance(estimate, Absent):
        return _failed(estimate.reason)
    width = half_width(estimate.interval)
    needed = math.ceil(len(pairs) * (width / DESIGN.decision) ** 2)
    line = percent(DESIGN.decision)
    if needed > DESIGN.max_pairs:
        told = f"a difference of {line} cannot be told within {DESIGN.max_pairs} pairs"
    else:
        told = f"a difference of {line} can be told in about {max(needed, DESIGN.first_look)} pairs"
    agreed = f"±{percent(width)}" if width < 1 else "no better than a factor of 2"
    median = sorted(second for _, second in pairs)[len(pairs) // 2]
    finding = (
        f"{len(pairs)} pairs of a {median * 1e3:.3g} ms network and its copy agree to "
        f"{agreed}: {told}"
    )
    allowed = 1 + DESIGN.self_check_bias
    if estimate.interval.low > allowed or estimate.interval.high < 1 / allowed:
        finding += f"; and the copy seems {percent(abs(estimate.ratio - 1))} off, which it is not"
    elif width <= DESIGN.self_check_half_width:
        return judged(NAME, finding)
    most = percent(DESIGN.self_check_half_width)
    advice = (
        "Fix what the other checks warn of, then check again; `esrbench race` gives no verdict "
        f"above ±{most}."
    )
    return judged(NAME, finding, advice)


NAME = "resolution"


def _failed(finding: str) -> Diagnosis:
    advice = "See what else is wrong here; `esrbench doctor --quick` leaves the self-check out."
    return Diagnosis(name=NAME, state="problem", finding=finding, advice=advice)


def network_and_copy() -> tuple[nn.Module, nn.Module]:
    """A network from the global seed, and its copy with weights of its own but equal.

    Other weights would give other values, and the cost of arithmetic depends on values.
    """
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(3, WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
        nn.PixelShuffle(4),
    )
    return network, copy.deepcopy(network)


def time_copies(device_name: Device) -> tuple[tuple[float, float], ...]:
    """Prepare this process for good, as a worker does, and time a network and its copy.

    Returns:
        Up to ``PAIRS`` pairs of seconds, fewer where ``BUDGET_SECONDS`` are over.

    Raises:
        MeasurementError: the device is not there.
    """
    import torch

    from esrbench.probes.devices import HostClock, open_device, synchronize
    from esrbench.probes.pairs import time_pairs
    from esrbench.protocol import ForwardPolicy

    device = open_device(device_name, threads=None, policy=ForwardPolicy()).device
    torch.manual_seed(0)
    networks = tuple(network.to(device) for network in network_and_copy())
    lr = torch.rand(1, 3, *LR_SIZE, device=device)

    def forward(network: nn.Module) -> None:
        network(lr)
        synchronize(device)

    with torch.inference_mode():
        ours, theirs = (lambda network=network: forward(network) for network in networks)
        clock = HostClock()
        time_pairs(ours, theirs, clock, count=DISCARDED_PAIRS, candidate_first=True)
        pairs: tuple[tuple[float, float], ...] = ()
        while len(pairs) < PAIRS:
            if len(pairs) >= FEWEST_PAIRS and sum(map(sum, pairs)) > BUDGET_SECONDS:
                break
            pairs += time_pairs(ours, theirs, clock, count=BATCH, candidate_first=True).pairs
    return pairs


if __name__ == "__main__":
    json.dump(time_copies("cuda" if sys.argv[1] == "cuda" else "cpu"), sys.stdout)
