"""What the harness itself costs, and the same work done the official way in the same run.

Stages run in one thread and are compared by CPU time; what uses several threads or processes is
timed by the clock. The results of both ways are asserted to be equal.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import official_flow as official
import pytest
import torch
from conftest import SCALE, Step

from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.pairs import check
from esrbench.data.seen import check_image, read_image
from esrbench.entries.registry import default_registry
from esrbench.probes.forward import PixelConversion
from esrbench.probes.luma import luma
from esrbench.probes.quality import psnr, score_image, ssim
from esrbench.protocol import QualityDefinition
from esrbench.worker.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from esrbench.data.pairs import ImagePairs

    Pixels = npt.NDArray[np.uint8]

CONVERSION = PixelConversion(SCALE)
CPU = torch.device("cpu")
ONE_ULP_OF_DB = math.ulp(64.0)
SSIM_ROUNDING = 1e-12
"""Sums of a few million float64 terms in another order."""
LUMA_ROUNDING = 1e-10
"""As a share: the official coefficients are rounded decimals, so luma differs in its last bits."""

pytestmark = pytest.mark.usefixtures("one_thread")

# CPU time says as much as wall-clock time of work in one thread. Others' load does not add to it.
cpu_time = pytest.mark.benchmark(timer=time.process_time)

READ_HR = Step("decode HR, PNG")
READ_AGAIN = Step("decode HR, PNG, file unchanged since its check", official=READ_HR.name)
READ_LR = Step("decode LR, PNG")
TO_INPUT = Step("LR to tensor")
QUANTISE = Step("tensor to uint8", ratio=2)
PSNR = Step("PSNR RGB", ratio=40)
SSIM = Step("SSIM RGB, float64", ratio=12)
SSIM_Y = Step("luma of both, PSNR-Y, SSIM-Y")
SCORES = Step("PSNR, PSNR-Y, SSIM-Y")
WRITE = Step("write SR as PNG")
CHECK = Step("check of a data set before a run, from PNG")
TRANSFER = Step("SR of 8.3 MB through the worker's pipe")
COUNT = Step("complexity, audit and predicted memory, all networks, fresh process", seconds=10)
HELP = Step("esrbench --help", seconds=0.4)


@pytest.fixture(scope="module")
def output(hr: Pixels) -> torch.Tensor:
    """A network's output (1, 3, H, W) near the HR image, partly outside [0, 1]."""
    height, width = hr.shape[:2]
    noise = torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(0))
    return torch.from_numpy(hr).permute(2, 0, 1)[None].contiguous() / 255 + 0.02 * noise


@pytest.fixture(scope="module")
def sr(output: torch.Tensor, lr: Pixels) -> Pixels:
    """The output as our pixels, (H, W, 3) in memory."""
    return CONVERSION.to_pixels(output, lr)


@pytest.fixture(scope="module")
def official_sr(output: torch.Tensor) -> Pixels:
    """The output as the official pixels, a view of planar memory."""
    return official.to_image(output.clone())


@cpu_time
def test_decode_official(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    measure(READ_HR, "official", partial(official.read_image, pairs.pairs[0].hr))


@cpu_time
def test_decode(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    pixels = measure(READ_HR, "ours", partial(read_rgb, pairs.pairs[0].hr))
    assert np.array_equal(pixels, official.read_image(pairs.pairs[0].hr))


@cpu_time
def test_decode_again(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    path = pairs.pairs[0].hr
    _, seen = check_image(path)
    assert seen.version is not None
    pixels = measure(READ_AGAIN, "ours", partial(read_image, path, seen=seen))
    assert np.array_equal(pixels, official.read_image(path))


@cpu_time
def test_decode_lr_official(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    measure(READ_LR, "official", partial(official.read_image, pairs.pairs[0].lr))


@cpu_time
def test_decode_lr(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    pixels = measure(READ_LR, "ours", partial(read_rgb, pairs.pairs[0].lr))
    assert np.array_equal(pixels, official.read_image(pairs.pairs[0].lr))


@cpu_time
def test_to_input_official(measure: Callable[..., Any], lr: Pixels) -> None:
    measure(TO_INPUT, "official", partial(official.to_tensor, lr), rounds=50)


@cpu_time
def test_to_input(measure: Callable[..., Any], lr: Pixels) -> None:
    tensor = measure(TO_INPUT, "ours", partial(CONVERSION.to_input, lr, CPU), rounds=50)
    assert torch.equal(tensor, official.to_tensor(lr))


@cpu_time
def test_quantise_official(measure: Callable[..., Any], output: torch.Tensor) -> None:
    measure(QUANTISE, "official", partial(official.to_image, output.clone()), rounds=30)


@cpu_time
def test_quantise(
    measure: Callable[..., Any], output: torch.Tensor, lr: Pixels, official_sr: Pixels
) -> None:
    pixels = measure(QUANTISE, "ours", partial(CONVERSION.to_pixels, output, lr), rounds=30)
    assert np.array_equal(pixels, official_sr)


@cpu_time
def test_psnr_official(measure: Callable[..., Any], official_sr: Pixels, hr: Pixels) -> None:
    measure(PSNR, "official", partial(official.psnr, official_sr, hr, SCALE))


@cpu_time
def test_psnr(measure: Callable[..., Any], sr: Pixels, official_sr: Pixels, hr: Pixels) -> None:
    value = measure(PSNR, "ours", partial(psnr, sr, hr, SCALE), rounds=100)
    assert abs(value - official.psnr(official_sr, hr, SCALE)) <= ONE_ULP_OF_DB


@cpu_time
def test_ssim_official(measure: Callable[..., Any], official_sr: Pixels, hr: Pixels) -> None:
    measure(SSIM, "official", partial(official.ssim, official_sr, hr, SCALE), rounds=3)


@cpu_time
def test_ssim(measure: Callable[..., Any], sr: Pixels, official_sr: Pixels, hr: Pixels) -> None:
    value = measure(SSIM, "ours", partial(ssim, sr, hr, SCALE))
    assert value == pytest.approx(official.ssim(official_sr, hr, SCALE), abs=SSIM_ROUNDING)


def official_y(sr: Pixels, hr: Pixels) -> tuple[float, float]:
    a, b = official.luma(sr), official.luma(hr)
    return official.psnr(a, b, SCALE), official.ssim(a, b, SCALE)


def our_y(sr: Pixels, hr: Pixels) -> tuple[float | None, float]:
    a, b = luma(sr, "unrounded"), luma(hr, "unrounded")
    return psnr(a, b, SCALE), ssim(a, b, SCALE)


@cpu_time
def test_luma_official(measure: Callable[..., Any], official_sr: Pixels, hr: Pixels) -> None:
    measure(SSIM_Y, "official", partial(official_y, official_sr, hr), rounds=5)


@cpu_time
def test_luma(measure: Callable[..., Any], sr: Pixels, hr: Pixels) -> None:
    values = measure(SSIM_Y, "ours", partial(our_y, sr, hr))
    assert values == pytest.approx(official_y(sr, hr), rel=LUMA_ROUNDING)


@cpu_time
def test_all_scores_official(measure: Callable[..., Any], official_sr: Pixels, hr: Pixels) -> None:
    measure(
        SCORES,
        "official",
        lambda: (official.psnr(official_sr, hr, SCALE), *official_y(official_sr, hr)),
        rounds=5,
    )


@cpu_time
def test_all_scores(measure: Callable[..., Any], sr: Pixels, hr: Pixels) -> None:
    score = partial(score_image, sr, hr, scale=SCALE, definition=QualityDefinition(), image="0801")
    found = measure(SCORES, "ours", score)
    assert found.psnr_rgb is not None
    assert abs(found.psnr_rgb - official.psnr(sr, hr, SCALE)) <= ONE_ULP_OF_DB
    expected = pytest.approx(official_y(sr, hr), rel=LUMA_ROUNDING)
    assert (found.psnr_y, found.ssim_y) == expected


@cpu_time
def test_write_official(measure: Callable[..., Any], official_sr: Pixels, tmp_path: Path) -> None:
    measure(WRITE, "official", partial(official.save_image, official_sr, tmp_path / "sr.png"))


@cpu_time
def test_write(measure: Callable[..., Any], sr: Pixels, tmp_path: Path) -> None:
    measure(WRITE, "ours", partial(write_png, tmp_path / "sr.png", sr))
    assert np.array_equal(official.read_image(tmp_path / "sr.png"), sr)


def test_check(measure: Callable[..., Any], pairs: ImagePairs) -> None:
    found = measure(CHECK, "ours", partial(check, pairs), rounds=3, images=len(pairs))
    expected = hashlib.sha256()
    for pair in pairs.pairs:
        sides = " ".join(digest(official.read_image(path)) for path in (pair.lr, pair.hr))
        expected.update(f"{pair.name} {sides}\n".encode())
    assert found == expected.hexdigest()


def digest(image: Pixels) -> str:
    shape = "x".join(map(str, image.shape)).encode()
    return hashlib.sha256(shape + image.tobytes()).hexdigest()


def test_transfer(measure: Callable[..., Any], sr: Pixels) -> None:
    (their_read, our_write), (our_read, their_write) = os.pipe(), os.pipe()
    ours, theirs = Channel(our_read, our_write), Channel(their_read, their_write)
    content = sr.tobytes()

    def answer() -> None:
        while theirs.receive()[0]["command"] == "upscale":
            theirs.send({"event": "settled"}, content)

    def ask() -> bytes:
        ours.send({"command": "upscale"})
        return ours.receive()[1]

    worker = threading.Thread(target=answer)
    worker.start()
    received = measure(TRANSFER, "ours", ask, rounds=30)
    ours.send({"command": "stop"})
    worker.join()
    ours.close()
    theirs.close()
    assert received == content


def test_complexity(measure: Callable[..., Any], *, smoke: bool) -> None:
    networks = 3 if smoke else len(list(default_registry()))
    command = [sys.executable, str(Path(__file__).with_name("count_all.py"))]
    with subprocess.Popen(  # noqa: S603 - our own script, no shell
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ask = partial(process.communicate, f"{networks}\n")
        answer, _ = measure(COUNT, "ours", ask, rounds=1, discarded=0)
    assert int(answer) == networks


def test_help(measure: Callable[..., Any]) -> None:
    command = [str(Path(sys.executable).with_name("esrbench")), "--help"]
    run = partial(subprocess.run, command, check=True, capture_output=True)
    assert b"leaderboard" in measure(HELP, "ours", run, rounds=5).stdout
