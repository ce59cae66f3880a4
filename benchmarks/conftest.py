"""Test images for the benchmarks, and a table that sets both ways side by side."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import pytest
import torch
from skimage import data
from tabulate import tabulate

from esrbench.data.codecs import write_png
from esrbench.data.pairs import ImagePair, ImagePairs
from esrbench.data.resize import downscale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt
    from pytest_benchmark.fixture import BenchmarkFixture

    Pixels = npt.NDArray[np.uint8]

sys.path.insert(0, str(Path(__file__).parent))  # for the modules beside this file

HEIGHT, WIDTH, SCALE = 1356, 2040, 4
SETTLED_SECONDS = 3.5
"""Age at which a file is recognised by its time stamps, as those of any data set are."""
IMAGES = 8
"""Of a data set: the first is not overlapped with anything."""
SMOKE_HEIGHT, SMOKE_WIDTH, SMOKE_IMAGES = 336, 508, 2
"""With ``--benchmark-disable``: everything runs once and is compared, but nothing is timed."""

Side = Literal["official", "ours"]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table.

    Attributes:
        name: of the step.
        official: what the official way is called where it serves several steps.
        ratio: official time over ours that is aimed at, or None.
        seconds: our time that is aimed at, or None.
    """

    name: str
    official: str = ""
    ratio: float | None = None
    seconds: float | None = None


@pytest.fixture
def measure(benchmark: BenchmarkFixture) -> Callable[..., Any]:
    """Times a call as one side of a step.

    ``images`` of them in a call, ``rounds`` of calls after ``discarded`` ones.
    """

    def timed(
        step: Step,
        side: Side,
        call: Callable[[], Any],
        *,
        rounds: int = 10,
        images: int = 1,
        discarded: int = 1,
        prepare: Callable[[], None] | None = None,
    ) -> Any:
        benchmark.extra_info.update(
            step=step.name,
            official=step.official or step.name,
            side=side,
            ratio=step.ratio,
            seconds=step.seconds,
            images=images,
        )
        # `prepare` runs before every round, untimed.
        return benchmark.pedantic(
            call, setup=prepare, rounds=rounds, iterations=1, warmup_rounds=discarded
        )

    return timed


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread in OpenCV and torch, so that work is compared with work."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    yield
    cv2.setNumThreads(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(scope="session")
def smoke(request: pytest.FixtureRequest) -> bool:
    """Whether everything runs once, on small images, to see that it still works."""
    return bool(request.config.getoption("benchmark_disable"))


@pytest.fixture(scope="session")
def hr(*, smoke: bool) -> Pixels:
    """Three photographs, each tiled in a band of its own, every other tile mirrored.

    Mirrored so that PNG cannot copy a tile from its neighbour; about 5 MB as PNG, as DIV2K's.
    """
    bands = []
    for photo in (data.astronaut(), data.coffee(), data.chelsea()):
        tiles = [photo, photo[:, ::-1]] * 4
        row = np.concatenate(tiles, axis=1)[:, :WIDTH]
        bands.append(np.concatenate([row, row[::-1]], axis=0)[: HEIGHT // 3])
    image = np.concatenate(bands, axis=0)
    return np.ascontiguousarray(image[:SMOKE_HEIGHT, :SMOKE_WIDTH] if smoke else image)


@pytest.fixture(scope="session")
def lr(hr: Pixels) -> Pixels:
    """The HR image made four times smaller by bicubic."""
    return downscale(hr, SCALE, border="mirror")


@pytest.fixture(scope="session")
def pairs(
    hr: Pixels, lr: Pixels, tmp_path_factory: pytest.TempPathFactory, *, smoke: bool
) -> ImagePairs:
    """A data set of different images: the same one, moved by some pixels."""
    folder = tmp_path_factory.mktemp("set")
    made = []
    for index in range(SMOKE_IMAGES if smoke else IMAGES):
        name = f"{801 + index:04d}"
        pair = ImagePair(name, folder / f"{name}x{SCALE}.png", folder / f"{name}.png")
        write_png(pair.hr, np.roll(hr, 8 * SCALE * index, axis=1))
        write_png(pair.lr, np.roll(lr, 8 * index, axis=1))
        made.append(pair)
    time.sleep(SETTLED_SECONDS)
    return ImagePairs("photographs", "photographs", SCALE, tuple(made))


@pytest.fixture(autouse=True)
def _private_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep benchmarks away from the user's cache; one for all of them."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the table of steps: fastest round of each side, a time an image."""
    session = config._benchmarksession  # type: ignore[attr-defined]  # noqa: SLF001 - has no public name
    official: dict[str, float] = {}
    ours: list[tuple[dict[str, Any], float]] = []
    for benchmark in session.benchmarks:
        info = benchmark.extra_info
        if "step" not in info or benchmark.has_error:
            continue
        seconds = benchmark.stats.min / info["images"]
        if info["side"] == "official":
            official[info["official"]] = seconds
        else:
            ours.append((info, seconds))
    if ours:
        terminalreporter.section("official way and ours")
        terminalreporter.write_line(
            tabulate(
                [_row(info, official.get(info["official"]), seconds) for info, seconds in ours],
                ["step", "official [ms]", "ours [ms]", "ratio", "target", "met"],
                colalign=("left", *["right"] * 5),
                disable_numparse=True,
            )
        )
        terminalreporter.write_line("Fastest round of each; of data sets the time an image.")


def _row(info: dict[str, Any], official: float | None, ours: float) -> tuple[str, ...]:
    ratio = None if official is None else official / ours
    target, met = "", ""
    if info["ratio"] is not None:
        target = f"{info['ratio']:g}x"
        met = "" if ratio is None else "yes" if ratio >= info["ratio"] else "no"
    elif info["seconds"] is not None:
        target = f"{info['seconds'] * 1e3:g} ms"
        met = "yes" if ours <= info["seconds"] else "no"
    return (
        info["step"],
        "" if official is None else f"{official * 1e3:.2f}",
        f"{ours * 1e3:.2f}",
        "" if ratio is None else f"{ratio:.1f}x",
        target,
        met,
    )
