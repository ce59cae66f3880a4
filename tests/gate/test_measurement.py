from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.gate.figures import EntryFigures
from esrbench.gate.measurement import Subject, measure, open_data
from esrbench.protocol import Protocol
from esrbench.records import Absent
from esrbench.runs.evaluator import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.entries.descriptor import ModelDescriptor


def subject(descriptor: ModelDescriptor, data: Path | None = None) -> Subject:
    weights = resolve_weights(descriptor, 4, None)
    pairs = {} if data is None else {"pairs": open_dataset(data, 4)}
    return Subject(descriptor.name, Entry(descriptor, 4, weights), pairs)


def test_counts_and_scores(pair_folder: Path, describe: Callable[..., ModelDescriptor]) -> None:
    """FSRCNN(56, 12, 4) at x4 has 12,809 parameters; of random weights nothing is scored."""
    registry = default_registry()
    broken = describe("NoSuchNetwork")

    fsrcnn, bicubic, failed = measure(
        [
            subject(registry.get("fsrcnn"), pair_folder),
            subject(registry.get("bicubic"), pair_folder),
            subject(broken),
        ],
        Protocol(latency=None, counted_input=(32, 32), threads=1),
        timeout_seconds=300,
    )

    assert isinstance(fsrcnn.figures, EntryFigures)
    assert fsrcnn.figures.counts["params"] == 12_809
    assert fsrcnn.figures.weights.source == "random"
    assert fsrcnn.figures.scores == {}
    assert isinstance(bicubic.figures, EntryFigures)
    assert bicubic.figures.weights.source == "none"
    assert set(bicubic.figures.scores["pairs"].values) == {"psnr_rgb", "psnr_y", "ssim_y"}
    assert bicubic.absent["pairs", "peak_bytes"].kind == "unavailable"
    assert isinstance(failed.figures, Absent)
    assert (failed.figures.kind, failed.key) == ("failed", "nosuchnetwork x4")


def test_data_that_is_not_here_says_why() -> None:
    found = open_data("set14", "set14", 4)

    assert isinstance(found, Absent)
    assert found.kind == "unavailable"
    assert found.reason.startswith("set14 cannot be opened here: ")
