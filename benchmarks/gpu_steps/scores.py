"""Scores and runtimes of released networks in each class of arithmetic, beside fp32 on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from esrbench.probes.quality import psnr
from esrbench.protocol import ForwardPolicy
from gpu_steps.day import RELEASED, SCALE, reason
from gpu_steps.networks import WARM_UP, open_network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from esrbench.data.datasets import ImagePairs
    from gpu_steps.day import Day, Found, Row
    from gpu_steps.networks import OpenedNetwork

    Pixels = npt.NDArray[np.uint8]

CLASSES = (
    ForwardPolicy(),
    ForwardPolicy(precision="tf32"),
    ForwardPolicy(precision="fp16"),
    ForwardPolicy(precision="bf16"),
    ForwardPolicy(channels_last=True),
    ForwardPolicy(precision="fp16", channels_last=True),
    ForwardPolicy(cudnn_benchmark=True),
)
COMPILED = ForwardPolicy(backend="torch-compile")
GRAPH_LABEL = "fp32, CUDA graph"
TIMED_SIDE = 256
TIMED_ROUNDS = 30


def measure(day: Day) -> Iterator[Found]:
    """Classes one after the other, the slow ones to prepare last; a row a network."""
    names = RELEASED[:1] if day.tiny else RELEASED
    pairs = day.pairs()
    count = 2 if day.tiny else len(pairs)
    side = 16 if day.tiny else TIMED_SIDE
    rounds = 1 if day.tiny else TIMED_ROUNDS
    lr = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    references: dict[str, list[float]] = {}
    for name in names:
        opened = open_network(day, name, "cpu", ForwardPolicy())
        references[name] = _scores(opened, pairs, count)
    plan = [(policy, name) for policy in CLASSES for name in names]
    plan += [(COMPILED, name) for name in (() if day.tiny else names)]
    for policy, name in plan:
        if not day.left():
            return
        row: Row = {"class": policy.label, "network": name}
        try:
            opened = open_network(day, name, day.device, policy)
            scores = _scores(opened, pairs, count)
            seconds = opened.seconds(lr, rounds)
        except Exception as error:  # noqa: BLE001 - a class that fails is a finding
            yield "scores", row | _figures() | {"absent": reason(error)}
            continue
        yield "scores", row | _figures(opened, references[name], scores, seconds)
        if policy == ForwardPolicy() and day.device == "cuda":
            yield "scores", {"class": GRAPH_LABEL, "network": name} | _graph(opened, lr, rounds)


def _scores(opened: OpenedNetwork, pairs: ImagePairs, count: int) -> list[float]:
    """PSNR in dB on uint8 RGB, border of the scale, of the first images."""
    found = [psnr(opened.upscale(pairs.read_lr(i)), pairs.read_hr(i), SCALE) for i in range(count)]
    return [score for score in found if score is not None]


def _figures(
    opened: OpenedNetwork | None = None,
    reference: Sequence[float] = (),
    scores: Sequence[float] = (),
    seconds: Sequence[float] = (),
    absent: str = "",
) -> Row:
    differences = np.subtract(scores, reference) if len(scores) == len(reference) else np.empty(0)
    low, middle, high = np.percentile(seconds, [25, 50, 75]) * 1e3 if seconds else (None,) * 3
    return {
        "weights": opened.weights if opened else None,
        "images": len(scores) or None,
        "psnr_db": float(np.mean(scores)) if scores else None,
        "mean_difference_db": float(np.mean(differences)) if len(differences) else None,
        "largest_difference_db": float(np.abs(differences).max()) if len(differences) else None,
        "median_ms": middle,
        "quartile_1_ms": low,
        "quartile_3_ms": high,
        "absent": absent,
    }


def _graph(opened: OpenedNetwork, lr: Pixels, rounds: int) -> Row:
    """One forward recorded as a CUDA graph and replayed."""
    try:
        with torch.inference_mode():
            pixels = opened.input(lr)
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):
                for _ in range(3):
                    opened.network(pixels)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                output = opened.network(pixels)
            for _ in range(WARM_UP):
                graph.replay()
            seconds = [opened.device.time(graph.replay)[1] for _ in range(rounds)]
            difference = float((output - opened.network(pixels)).abs().max())
    except Exception as error:  # noqa: BLE001 - a network that cannot be recorded is a finding
        return _figures(absent=reason(error))
    return _figures(opened, seconds=seconds, absent=f"largest output difference {difference:.3g}")
