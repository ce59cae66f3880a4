"""Timed windows against untimed ones, with a worker in this process."""

from __future__ import annotations

import random
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from esrbench.data.datasets import open_dataset
from esrbench.data.resize import upscale
from esrbench.probes.quality import psnr
from esrbench.records import Absent, LatencySamples, Replicate, VariantScores
from esrbench.runs.passes import TimedPass
from esrbench.runs.untimed_windows import compare_untimed
from esrbench.runs.variants import TimedWindow, draw_variants
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from esrbench.data.datasets import ImagePairs

SCALE = 4


@pytest.fixture
def pairs(pair_folder: Path) -> ImagePairs:
    return open_dataset(str(pair_folder), SCALE)


def bicubic(lr: np.ndarray) -> np.ndarray:
    return upscale(lr, SCALE, border="mirror")


def without_edges(lr: np.ndarray) -> np.ndarray:
    """Bicubic but for a strip of one LR pixel, which is left black."""
    sr = bicubic(lr)
    inside = np.zeros_like(sr)
    cut = (slice(SCALE, -SCALE),) * 2
    inside[cut] = sr[cut]
    return inside


def plan(forward: Any, asked: list[np.ndarray]) -> Any:
    class Session:
        def load(self, *_: object, **__: object) -> None:
            """Nothing to do."""

        def upscale(self, lr: np.ndarray, name: str) -> np.ndarray:
            asked.append(lr)
            if forward is None:
                raise WorkerError("crash", f"gone at {name}", fatal=True)
            return forward(lr)  # type: ignore[no-any-return]

    @contextmanager
    def worker(*_: object, **__: object) -> Iterator[Session]:
        yield Session()

    launcher = SimpleNamespace(worker=worker)
    return SimpleNamespace(launcher=launcher, protocol=None, timeout_seconds=1.0, limit_seconds=1.0)


def timed(pairs: ImagePairs, forward: Any) -> TimedPass:
    """Every image with one variant, as a network delivered it."""
    rng = random.Random(0)  # noqa: S311 - no secret
    windows, images = [], []
    for number, pair in enumerate(pairs.pairs):
        lr, hr = pairs.read_lr(number), pairs.read_hr(number)
        size = (lr.shape[0], lr.shape[1])
        variant = next(draw_variants(rng, size))
        shown = variant.of_lr(lr)
        score = psnr(forward(shown), variant.of_hr(hr, SCALE), 0)
        windows.append(TimedWindow(number, variant, score))
        images.append(
            LatencySamples(
                input_name=pair.name,
                lr_size=size,
                clock="monotonic",
                first_seconds=1,
                warmup_seconds=(),
                steady=True,
                seconds=(1.0,),
                stopped_by="max-rounds",
                variants=VariantScores(rounds=1, clean_psnr_rgb=30.0, variant_psnr_rgb=30.0),
            )
        )
    replicate = Replicate(
        index=0,
        position=0,
        started=datetime(2026, 1, 1, tzinfo=UTC),
        cpus=(),
        cold_start_seconds=None,
        fixed=Absent(kind="skipped", reason="not asked for"),
        images=tuple(images),
    )
    return TimedPass(replicate=replicate, log_tail="", windows=tuple(windows))


ENTRY: Any = SimpleNamespace(descriptor=None, weights=None, scale=SCALE)


def gains(found: TimedPass) -> list[float]:
    assert not isinstance(found.replicate.images, Absent)
    scores = [samples.variants for samples in found.replicate.images]
    return [
        each.untimed_psnr_rgb - each.window_psnr_rgb
        for each in scores
        if each and each.untimed_psnr_rgb is not None and each.window_psnr_rgb is not None
    ]


def test_the_same_windows_are_upscaled_again(pairs: ImagePairs) -> None:
    before, asked = timed(pairs, bicubic), []  # type: ignore[var-annotated]
    found = compare_untimed(ENTRY, pairs, plan(bicubic, asked), before)
    assert gains(found) == [0.0] * len(pairs)
    expected = [each.variant.of_lr(pairs.read_lr(each.image)) for each in before.windows]
    assert all(np.array_equal(one, other) for one, other in zip(asked, expected, strict=True))


def test_edges_that_were_not_computed_show(pairs: ImagePairs) -> None:
    found = compare_untimed(ENTRY, pairs, plan(bicubic, []), timed(pairs, without_edges))
    assert min(gains(found)) > 1


def test_a_failure_is_the_entry_s_own(pairs: ImagePairs) -> None:
    found = compare_untimed(ENTRY, pairs, plan(None, []), timed(pairs, bicubic))
    assert isinstance(found.replicate.images, Absent)
    assert found.replicate.images.failure == "crash"
    assert pairs.pairs[0].name in found.replicate.images.reason


def test_without_windows_no_process_is_started(pairs: ImagePairs) -> None:
    bare = TimedPass(replicate=timed(pairs, bicubic).replicate, log_tail="")
    nothing: Any = None
    steps: list[str] = []
    assert compare_untimed(ENTRY, pairs, nothing, bare, steps.append) is bare
    assert len(steps) == 1
