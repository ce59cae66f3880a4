"""The challenge's way of timing beside ours, on the same networks in the same process.

The official script makes one pass with CUDA events around each forward, without a warm-up, in
PyTorch's default arithmetic (TF32 convolutions), and never resets the memory peak. Written
from a description. Each process times one network and then ends, so that its first image is
cold, as it is for the challenge.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from esrbench.protocol import ForwardPolicy
from gpu_steps.day import MIB, RELEASED, SCALE, Day, reason
from gpu_steps.mosaics import mosaic
from gpu_steps.networks import open_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_steps.day import Found, Row
    from gpu_steps.networks import OpenedNetwork

    Pixels = np.ndarray

SIZES = ((339, 510), (339, 510), (510, 339), (384, 510), (339, 510), (408, 510), (339, 510))
"""LR sizes in the order of the images; most of DIV2K validation are 339x510 at x4."""
PROCESSES = 5
ROUNDS = 5
LONGEST_SECONDS = 120
IMAGES = "official_lr.npz"
BENCHMARKS = Path(__file__).resolve().parents[1]


def measure(day: Day) -> Iterator[Found]:
    """Process after process, each network in turn; a row a process."""
    names = RELEASED[:1] if day.tiny else RELEASED
    pairs = day.pairs()
    sizes = ((24, 32), (24, 24)) if day.tiny else SIZES
    # Every fourth pixel of HR: content does not matter here.
    images = {str(i): mosaic(pairs, size, i)[::SCALE, ::SCALE] for i, size in enumerate(sizes)}
    np.savez(day.out / IMAGES, **images)
    longest = 0.0
    for number in range(1 if day.tiny else PROCESSES):
        # Another order each time, so that no network always follows the same one.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            if day.left() <= longest:
                return
            start = time.monotonic()
            yield "official", {"process": number, "network": name} | _in_process(day, name)
            longest = max(longest, time.monotonic() - start)


def _in_process(day: Day, name: str) -> Row:
    command = [sys.executable, "-m", "gpu_steps.official", name, "--device", day.device]
    command += ["--out", str(day.out)]
    command += [f"--weights={day.weights}"] if day.weights else []
    finished = subprocess.run(  # noqa: S603 - our own program
        command + (["--tiny"] if day.tiny else []),
        cwd=BENCHMARKS,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_SECONDS,
    )
    last = finished.stdout.strip().splitlines()[-1:]
    try:
        row: Row = json.loads(last[0])
    except (IndexError, json.JSONDecodeError):
        said = finished.stderr.strip().splitlines()[-1:] or ["no output"]
        return dict.fromkeys(COLUMNS) | {"absent": said[0][:200]}
    return row


COLUMNS = (
    "official_first_ms",
    "official_mean_ms",
    "official_mean_without_first_ms",
    "official_mib",
    "ours_tf32_ms",
    "ours_fp32_ms",
    "ours_mib",
    "absent",
)


def time_both_ways(day: Day, name: str) -> Row:
    """One network timed the official way, and then ours in TF32 and in fp32."""
    with np.load(day.out / IMAGES) as stored:
        images = [np.ascontiguousarray(stored[key]) for key in stored]
    on_gpu = day.device == "cuda"
    # TF32 is what PyTorch's defaults are for convolutions.
    opened = open_network(
        day, name, day.device, ForwardPolicy(precision="tf32" if on_gpu else "fp32")
    )
    official = [_official_seconds(opened, lr) for lr in images]
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    ours = {}
    for precision in ("tf32", "fp32") if on_gpu else ("fp32",):
        opened = open_network(day, name, day.device, ForwardPolicy(precision=precision))
        rounds = 3 if day.tiny else ROUNDS
        medians = [float(np.median(opened.seconds(lr, rounds))) for lr in images]
        ours[precision] = float(np.mean(medians)) * 1e3
    return {
        "official_first_ms": official[0] * 1e3,
        "official_mean_ms": float(np.mean(official)) * 1e3,
        "official_mean_without_first_ms": float(np.mean(official[1:])) * 1e3,
        "official_mib": peak / MIB if peak is not None else None,
        "ours_tf32_ms": ours.get("tf32"),
        "ours_fp32_ms": ours["fp32"],
        "ours_mib": _peak(opened, images) if on_gpu else None,
        "absent": "" if on_gpu else "a CPU has neither TF32 nor GPU memory",
    }


def _official_seconds(opened: OpenedNetwork, lr: Pixels) -> float:
    """Seconds of one forward by events, or by the clock on a CPU."""
    with torch.no_grad():
        pixels = opened.input(lr)
        sr, seconds = opened.device.time(lambda: opened.network(pixels))
        opened.conversion.to_pixels(sr, lr)
    return seconds


def _peak(opened: OpenedNetwork, images: list[Pixels]) -> float:
    """Highest peak within a forward, reset before each, in MiB."""
    opened.device.begin_memory_pass()
    peaks = []
    for lr in images:
        with torch.inference_mode():
            pixels = opened.input(lr)
            _, use = opened.device.measure_memory(lambda pixels=pixels: opened.network(pixels))
        peaks.append(use.peak_bytes if use else 0)
    return max(peaks) / MIB


def main() -> None:
    """Print one row as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--tiny", action="store_true")
    asked = parser.parse_args()
    deadline = time.monotonic() + LONGEST_SECONDS
    day = Day(asked.device, asked.out, deadline, weights=asked.weights, tiny=asked.tiny)
    try:
        row = time_both_ways(day, asked.name)
    except Exception as error:  # noqa: BLE001 - a network that fails is a finding
        row = dict.fromkeys(COLUMNS) | {"absent": reason(error)}
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
