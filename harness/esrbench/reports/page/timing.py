"""Raw times of entries: rounds, warm-up, drift, processes and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import TYPE_CHECKING, Final

from esrbench.plaintext import plural
from esrbench.records import Latency
from esrbench.reports.table import MISSING, Table, pairs
from esrbench.runtimes import times_by_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.records import Conditions, Replicate, RunRecord

MOST_RATIO: Final = 100.0
"""Largest ratio of a time to its median that is drawn; larger ones are drawn at this ratio."""
Processes = tuple[tuple[tuple[float, ...], ...], ...]
"""Figures by process, then by item, such as an image."""


@dataclass(frozen=True, slots=True)
class Times:
    """Raw times of one entry.

    Attributes:
        entry: its number on the page.
        name: name of the entry.
        series: title of each chart, and its figures.
        facts: sizes, cold starts, spreads and conditions in words.
    """

    entry: int
    name: str
    series: Mapping[str, Processes]
    facts: Table


def times(records: Mapping[int, RunRecord], most: int) -> list[Times]:
    """Raw times of the first entries that have some."""
    return [
        _times(entry, record.entry.name, record.latency)
        for entry, record in islice(records.items(), most)
        if isinstance(record.latency, Latency)
    ]


def _times(entry: int, name: str, latency: Latency) -> Times:
    replicates = latency.replicates
    fixed = [samples for each in replicates for samples in each.timed_fixed]
    by_size = [
        sorted(each.timed_images, key=lambda s: (s.lr_size[0] * s.lr_size[1], s.input_name))
        for each in replicates
    ]
    series = {
        "Rounds at the fixed input, in order [ms]": _in_order(each.seconds for each in fixed),
        "Warm-up before them [ms]": _in_order(each.warmup_seconds for each in fixed),
        "Rounds of each image, smallest image first [ms]": tuple(
            tuple(tuple(s * 1e3 for s in samples.seconds) for samples in images)
            for images in by_size
        ),
        "Drift within an image: each round against the image's median": tuple(
            map(_round_drift, replicates)
        ),
        "Drift between images: each against its median in all processes, as they were timed": (
            _image_drift(replicates)
        ),
    }
    facts = [(f"Process {each.index + 1}", _process(each)) for each in replicates]
    for size in times_by_size(latency):
        height, width = size.lr_size
        facts.append(
            (
                f"LR {height}x{width}",
                (
                    f"median {size.median * 1e3:.2f} ms, 5th to 95th percentile "
                    f"{size.p5 * 1e3:.2f} to {size.p95 * 1e3:.2f} ms; "
                    f"{plural(size.images, 'image')}, {plural(size.rounds, 'forward')}"
                ),
            )
        )
    return Times(entry, name, series, pairs(facts))


def _in_order(processes: Iterable[Sequence[float]]) -> Processes:
    """Milliseconds of forwards, one after the other."""
    return tuple(tuple((s * 1e3,) for s in seconds) for seconds in processes)


def _round_drift(replicate: Replicate) -> tuple[tuple[float, ...], ...]:
    """Median ratio of each round to its image's median, for rounds that half of the images have."""
    ratios = [
        [min(s / middle, MOST_RATIO) for s in samples.seconds]
        for samples in replicate.timed_images
        if (middle := median(samples.seconds)) > 0
    ]
    longest = max(map(len, ratios), default=0)
    rounds = [[each[n] for each in ratios if n < len(each)] for n in range(longest)]
    return tuple((median(each),) for each in rounds if 2 * len(each) >= len(ratios))


def _image_drift(replicates: Sequence[Replicate]) -> Processes:
    """Ratios of an image's median to that of all processes; empty for a single process."""
    if len(replicates) < 2:  # noqa: PLR2004 - one has nothing to be compared with
        return ()
    medians = [
        {samples.input_name: median(samples.seconds) for samples in each.timed_images}
        for each in replicates
    ]
    middles = {
        name: median([each[name] for each in medians if name in each])
        for names in medians
        for name in names
    }
    return tuple(
        tuple(
            (min(s / middles[name], MOST_RATIO),) for name, s in each.items() if middles[name] > 0
        )
        for each in medians
    )


def _process(replicate: Replicate) -> str:
    """The page's text on a process, apart from its rounds."""
    said = []
    if replicate.cold_start_seconds is not None:
        said.append(f"cold start {replicate.cold_start_seconds * 1e3:.1f} ms")
    if replicate.cpus:
        said.append(f"CPUs {', '.join(map(str, replicate.cpus))}")
    if replicate.conditions is not None:
        said += _conditions(replicate.conditions)
    return "; ".join(said) or MISSING


def _conditions(conditions: Conditions) -> Iterator[str]:
    if conditions.other_load is not None:
        yield f"other processes took {conditions.other_load:.1%} of the CPU time"
    if conditions.steal and conditions.steal >= 0.0005:  # noqa: PLR2004 - else 0.0% is printed
        yield f"the hypervisor took {conditions.steal:.1%}"
    if conditions.foreign_processes:
        yield f"other processes on the GPU: {conditions.foreign_processes}"
    if conditions.clock_hz is not None:
        low, high = (hertz / 1e6 for hertz in conditions.clock_hz)
        yield f"GPU clock {low:.0f} to {high:.0f} MHz"
    if conditions.temperature_celsius is not None:
        yield f"up to {conditions.temperature_celsius:.0f} degrees Celsius"
    if conditions.throttle_reasons:
        yield f"clocks were lowered: {', '.join(conditions.throttle_reasons)}"
