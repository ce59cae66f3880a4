"""What the harness itself costs on a 2040x1356 image, and complexity of each network."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness.catalog.networks import build_network
from harness.catalog.registry import ModelDescriptor, default_registry
from harness.imaging.codecs import read_rgb, write_png
from harness.imaging.quality import luma, psnr, ssim
from harness.imaging.resize import downscale, upscale
from harness.probes.complexity import measure_complexity
from harness.protocol import COUNTERS

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from pytest_benchmark.fixture import BenchmarkFixture

HEIGHT, WIDTH = 1356, 2040


@pytest.fixture(scope="module")
def hr() -> npt.NDArray[np.uint8]:
    """Smooth structure and noise, so that PNG compresses about as badly as a photograph."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    smooth = 127 + 80 * np.sin(rows / 37)[..., None] * np.cos(columns / 53)[..., None]
    return (smooth + rng.normal(0, 6, (HEIGHT, WIDTH, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def sr(hr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The HR image after bicubic down and up."""
    return upscale(downscale(hr, 4, border="mirror"), 4, border="mirror")


def test_strict_png_read(
    benchmark: BenchmarkFixture, hr: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    path = tmp_path / "hr.png"
    write_png(path, hr)
    benchmark(read_rgb, path)


def test_bicubic_downscale(benchmark: BenchmarkFixture, hr: npt.NDArray[np.uint8]) -> None:
    benchmark(downscale, hr, 4, border="mirror")


def test_psnr_rgb(
    benchmark: BenchmarkFixture, sr: npt.NDArray[np.uint8], hr: npt.NDArray[np.uint8]
) -> None:
    benchmark(psnr, sr, hr, 4)


def test_ssim_y(
    benchmark: BenchmarkFixture, sr: npt.NDArray[np.uint8], hr: npt.NDArray[np.uint8]
) -> None:
    benchmark(ssim, luma(sr, "unrounded"), luma(hr, "unrounded"), 4)


@pytest.mark.parametrize("model", default_registry(), ids=lambda model: model.name)
def test_complexity_by_all_counters(benchmark: BenchmarkFixture, model: ModelDescriptor) -> None:
    build = partial(build_network, model, 4)
    benchmark.pedantic(
        measure_complexity,
        args=(build,),
        kwargs={"input_size": (256, 256), "counters": COUNTERS},
        rounds=3,
        warmup_rounds=1,
    )
