"""A data set from its files to its scores with a network that costs next to nothing.

OpenCV and torch run in one thread both ways. The official one works through image after image;
ours reads and scores in threads beside the forward.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import official_flow as official
import pytest
import torch
from conftest import SCALE, Step
from trivial_networks import Nearest, OneConvolution

from esrbench.data.pairs import check
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights
from esrbench.probes.forward import PixelConversion
from esrbench.probes.quality import psnr, ssim
from esrbench.protocol import Protocol
from esrbench.records import WeightsIdentity
from esrbench.runs.quality_pass import upscale_images
from esrbench.worker.launcher import open_launcher

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs

    Pixels = npt.NDArray[np.uint8]
    Network = Callable[[torch.Tensor], torch.Tensor]
    Scores = list[tuple[float | None, ...]]

NETWORKS = {"nearest": Nearest, "one conv": OneConvolution}
CONVERSION = PixelConversion(SCALE)
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("one_thread")

# What is aimed at, by network and work.
TARGETS = {("nearest", "PSNR"): 3.0}


def step(network: str, work: str, *, worker: bool = False) -> Step:
    place = ", worker process" if worker else ""
    return Step(
        f"{network}, {work}{place}",
        official=f"{network}, {work}",
        ratio=None if worker else TARGETS.get((network, work)),
    )


def built(name: str) -> Network:
    torch.manual_seed(0)
    return NETWORKS[name](SCALE).eval()


def score(work: str) -> Callable[[Pixels, Pixels, str], tuple[float | None, ...]]:
    def psnr_alone(sr: Pixels, hr: Pixels, _: str) -> tuple[float | None, ...]:
        return (psnr(sr, hr, SCALE),)

    def with_ssim(sr: Pixels, hr: Pixels, _: str) -> tuple[float | None, ...]:
        return psnr(sr, hr, SCALE), ssim(sr, hr, SCALE)

    return with_ssim if work == "PSNR+SSIM" else psnr_alone


def the_official_way(
    pairs: ImagePairs, network: Network, work: str, folder: Path | None = None
) -> Scores:
    return [
        official.score_one(
            pair.lr,
            pair.hr,
            network,
            SCALE,
            with_ssim=work == "PSNR+SSIM",
            sr_path=None if folder is None else folder / f"{pair.name}.png",
        )
        for pair in pairs.pairs
    ]


def our_way(
    pairs: ImagePairs,
    upscale: Callable[[Pixels, str], Pixels],
    work: str,
    folder: Path | None = None,
) -> Scores:
    results = upscale_images(upscale, pairs, score=score(work), sr_folder=folder)
    return [scores for scores, _ in results]


@lru_cache
def expected(pairs: ImagePairs, network: str, work: str) -> Scores:
    """Official scores of all images, worked out once for all that is compared with them."""
    return the_official_way(pairs, built(network), work)


def in_process(network: Network) -> Callable[[Pixels, str], Pixels]:
    def upscale(lr: Pixels, _: str) -> Pixels:
        with torch.inference_mode():
            output = network(CONVERSION.to_input(lr, CPU))
            return CONVERSION.to_pixels(CONVERSION.validate(output, lr.shape[:2]), lr)

    return upscale


def assert_equal(ours: Scores, theirs: Scores) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[0] is not None
        assert other[0] is not None
        assert abs(mine[0] - other[0]) <= math.ulp(64.0)
        assert mine[1:] == pytest.approx(other[1:], abs=1e-12)


WORK = [
    ("nearest", "PSNR"),
    ("one conv", "PSNR"),
    ("nearest", "PSNR, SR saved"),
    ("nearest", "PSNR+SSIM"),
]


@pytest.mark.parametrize(("network", "work"), WORK)
def test_official(
    measure: Callable[..., Any], pairs: ImagePairs, tmp_path: Path, network: str, work: str
) -> None:
    module = built(network)
    folder = tmp_path if "saved" in work else None
    few = replace(pairs, pairs=pairs.pairs[:2]) if "SSIM" in work else pairs
    measure(
        step(network, work),
        "official",
        partial(the_official_way, few, module, work, folder),
        rounds=3,
        images=len(few),
    )


@pytest.mark.parametrize(("network", "work"), WORK)
def test_ours(
    measure: Callable[..., Any],
    pairs: ImagePairs,
    tmp_path: Path,
    *,
    network: str,
    work: str,
) -> None:
    check(pairs)  # as before every run
    module = built(network)
    found = measure(
        step(network, work),
        "ours",
        partial(our_way, pairs, in_process(module), work, tmp_path if "saved" in work else None),
        rounds=5,
        images=len(pairs),
    )
    assert_equal(found, expected(pairs, network, work))
    if "saved" in work:
        theirs = tmp_path / "official"
        theirs.mkdir()
        the_official_way(pairs, module, work, theirs)
        for pair in pairs.pairs:
            ours = official.read_image(tmp_path / f"{pair.name}x{SCALE}.png")
            assert np.array_equal(ours, official.read_image(theirs / f"{pair.name}.png"))


def test_ours_in_a_worker(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    check(pairs)
    factory = f"{Path(__file__).with_name('trivial_networks.py')}:Nearest"
    descriptor = ModelDescriptor(name="nearest", summary="", scales=(SCALE,), factory=factory)
    weights = ResolvedWeights(WeightsIdentity(source="none"))
    protocol = Protocol(threads=1)
    with open_launcher().worker((descriptor, weights), protocol=protocol) as session:
        session.load(descriptor, SCALE, weights=weights, protocol=protocol)
        found = measure(
            step("nearest", "PSNR", worker=True),
            "ours",
            partial(our_way, pairs, session.upscale, "PSNR"),
            rounds=5,
            images=len(pairs),
        )
    assert_equal(found, expected(pairs, "nearest", "PSNR"))
