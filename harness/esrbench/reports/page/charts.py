"""Small charts as SVG: bars, ranks, times, history and memory.

Like all charts of a page, they work without scripts, in print and for screen readers. Elements
have only classes; the style sheet sets colours, fonts and dark mode.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from esrbench.metrics import MIB
from esrbench.plaintext import line, shortened
from esrbench.reports.formats.html import html_text
from esrbench.reports.page.axes import Axis, axis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from esrbench.metrics import Metric
    from esrbench.records import Interval, PredictedMemory

WIDTH: Final = 760
PANEL_WIDTH: Final = 420
"""Width of charts that are shown side by side."""
NAME_LETTERS: Final = 22
"""Largest number of letters of a name before a row."""
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 16, 52
"""Margins around the plotting area, in pixels of the view box."""


class HeldRank(NamedTuple):
    """A rank of an entry and its stability.

    Attributes:
        entry: number of the entry on the page.
        name: name that is shown beside it.
        rank: the printed rank.
        low: best rank that noise allows.
        high: worst rank that noise allows.
        held: share of resamples that gave the printed rank, or None.
    """

    entry: int
    name: str
    rank: int
    low: int
    high: int
    held: float | None = None


def bars(values: Sequence[tuple[str, float]], metric: Metric) -> str:
    """Entries' values of one metric as horizontal bars, in the given order."""
    largest = max((value for _, value in values), default=0.0) or 1.0
    parts = [_open("bars", 24 * len(values), metric.heading, width=PANEL_WIDTH)]
    for index, (name, value) in enumerate(values):
        middle = 24 * index + 12
        length = (PANEL_WIDTH - 264) * value / largest
        parts.append(
            f"{_row_name(name, middle)}"
            f'<rect x="204" y="{middle - 8}" width="{length:.1f}" height="16"/>'
            f'<text x="{210 + length:.1f}" y="{middle + 4}">{metric.format(value)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def shares(rows: Sequence[tuple[str, Sequence[float]]], labels: Sequence[str], title: str) -> str:
    """Parts of a whole by several measures, as bars side by side.

    Args:
        rows: name of each part, and its share by each measure, 0 to 1.
        labels: names of the measures, in the same order.
        title: what the whole is.
    """
    height = 9 * len(labels) + 9
    largest = max((share for _, each in rows for share in each), default=0.0) or 1.0
    parts = [_open("shares", height * len(rows) + 24, f"{title}: {', '.join(labels)}")]
    for number, label in enumerate(labels):
        parts.append(
            f'<rect class="process-{number}" x="{204 + 170 * number}" y="4" width="12" '
            'height="12"/>'
            f'<text x="{222 + 170 * number}" y="15">{html_text(label)}</text>'
        )
    for index, (name, each) in enumerate(rows):
        top = 24 + height * index
        parts.append(_row_name(name, top + height / 2 - 5))
        for number, share in enumerate(each):
            at, length = top + 9 * number, (WIDTH - 270) * share / largest
            parts.append(
                f'<rect class="process-{number}" x="204" y="{at}" width="{length:.1f}" height="8"/>'
                f'<text class="small" x="{208 + length:.1f}" y="{at + 8}">{share:.1%}</text>'
            )
    return "\n".join([*parts, "</svg>"])


def ranks(rows: Sequence[HeldRank], title: str) -> str:
    """Ranks, the ranks that noise allows, and how often each holds; one entry in each line."""
    worst = max((row.high for row in rows), default=1)
    step = (WIDTH - 300) / max(worst - 1, 1)
    parts = [_open("ranks", 22 * len(rows) + 20, title, role="group")]
    every = max(1, math.ceil(worst / 12))
    for rank in range(1, worst + 1, every):
        at = 212 + step * (rank - 1)
        parts.append(
            f'<path class="grid" d="M{at:.1f} 16V{22 * len(rows) + 16}"/>'
            f'<text x="{at:.1f}" y="12" text-anchor="middle">{rank}</text>'
        )
    for index, row in enumerate(rows):
        y = 22 * index + 28
        first, last, at = (212 + step * (rank - 1) for rank in (row.low, row.high, row.rank))
        said = f"rank {row.rank}"
        said += f", {row.low} to {row.high} are possible" if row.low < row.high else ""
        held = "" if row.held is None else f"{row.held:.0%}"
        said += f", holds in {held} of resamples" if held else ""
        parts.append(
            f'<a href="#entry-{row.entry}" data-entry="{row.entry}" class="point">'
            f"<title>{html_text(row.name)}: {said}</title>{_row_name(row.name, y)}"
            f'<path class="interval" d="M{first:.1f} {y}H{last:.1f}"/>'
            f'<circle cx="{at:.1f}" cy="{y}" r="5"/>'
            f'<text x="{WIDTH - 8}" y="{y + 4}" text-anchor="end">{held}</text></a>'
        )
    return "\n".join([*parts, "</svg>"])


def dots(processes: Sequence[Sequence[Sequence[float]]], label: str) -> str:
    """Repeated figures of one item after the other, with a colour for each process.

    A line joins the medians.

    Args:
        processes: figures by process, then by item in order, in shown units.
        label: what the chart shows.
    """
    longest = max(map(len, processes), default=0)
    values = [value for each in processes for figures in each for value in figures]
    if not values:
        return ""
    up = axis(values, 120, 8, multiples=True)
    step = (WIDTH - LEFT - RIGHT) / max(longest - 1, 1)
    parts = [_open("rounds", 136, label)]
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for index, each in enumerate(processes):
        joined, points = "", []
        for at, figures in enumerate(each):
            x = f"{LEFT + step * at:.0f}"
            # A line without length and with round ends is a dot in few bytes; equal ones are one.
            places = dict.fromkeys(f"{up.place(value):.0f}" for value in figures)
            points += [f"M{x} {y}h0" for y in places]
            if figures:
                joined += f"{'L' if joined else 'M'}{x} {up.place(median(figures)):.1f}"
        colour = f"process-{index % 5}"
        parts.append(
            f'<path class="dots {colour}" d="{"".join(points)}"/>'
            f'<path class="medians {colour}" d="{joined}"/>'
        )
    for at, text in {LEFT: "1", WIDTH - RIGHT: str(longest)}.items():
        parts.append(f'<text class="small" x="{at}" y="134" text-anchor="middle">{text}</text>')
    return "\n".join([*parts, "</svg>"])


def history(
    stretches: Sequence[Sequence[tuple[datetime, tuple[float, ...]]]], metric: Metric
) -> str:
    """A metric of one entry over time, with intervals. Lines join only comparable runs.

    Args:
        stretches: groups of runs that are comparable with each other; each run has its time and
            its reading in shown units, in order.
        metric: the metric.
    """
    points = [point for stretch in stretches for point in stretch]
    if not points:
        return ""
    ends = [end for _, reading in points for end in reading]
    up = axis(ends, 120, 12, multiples=metric.better == "lower")
    times = [time.timestamp() for time, _ in points]
    across = Axis(
        min(times),
        max(*times, min(times) + 1),
        log=False,
        start=LEFT + 12,
        end=PANEL_WIDTH - RIGHT,
    )
    parts = [_open("history", 152, f"{metric.heading} over time", width=PANEL_WIDTH)]
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{PANEL_WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        )
    for stretch in stretches:
        places = []
        for time, (value, *bounds) in stretch:
            x = across.place(time.timestamp())
            places.append(f"{x:.1f} {up.place(value):.1f}")
            if bounds:
                low, high = map(up.place, bounds)
                parts.append(f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        dots = "".join(f"M{place}h0" for place in places)
        parts.append(
            f'<path class="medians process-0" d="M{"L".join(places)}"/>'
            f'<path class="dots process-0" d="{dots}"/>'
        )
    first, last = min(points)[0], max(points)[0]
    parts.append(f'<text x="{LEFT}" y="146">{first:%Y-%m-%d}</text>')
    if f"{first:%Y-%m-%d}" != f"{last:%Y-%m-%d}":
        parts.append(
            f'<text x="{PANEL_WIDTH - RIGHT}" y="146" text-anchor="end">{last:%Y-%m-%d}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def timeline(memory: PredictedMemory) -> str:
    """Predicted GPU memory over one forward, weights included; empty if it was not recorded."""
    if not memory.timeline:
        return ""
    height, bottom = 200, 170
    values = [each / MIB for each in memory.timeline]
    up = Axis(0, max(values) * 1.1 or 1.0, log=False, start=bottom, end=10)
    step = (WIDTH - LEFT - RIGHT) / max(len(values) - 1, 1)
    places = [(LEFT + step * index, up.place(value)) for index, value in enumerate(values)]
    joined = "".join(f"L{x:.0f} {y:.1f}" for x, y in places)
    peak = min(places, key=lambda place: place[1])
    said = f"peak {memory.peak_bytes / MIB:.1f} MiB at {line(memory.peak_operator, 40)}"
    anchor = "start" if peak[0] < WIDTH / 2 else "end"
    parts = [_open("timeline", height, f"GPU memory over a forward, {said}")]
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    parts += [
        f'<path class="area" d="M{LEFT} {bottom}{joined}V{bottom}Z"/>',
        (
            f'<path class="front" d="M{LEFT} {up.place(memory.weights_bytes / MIB):.1f}'
            f'H{WIDTH - RIGHT}"/>'
        ),
        f'<circle cx="{peak[0]:.0f}" cy="{peak[1]:.1f}" r="4"/>',
        (
            f'<text x="{peak[0]:.0f}" y="{peak[1] - 7:.1f}" text-anchor="{anchor}">'
            f"{html_text(said)}</text>"
        ),
        (
            f'<text class="title" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 10}" '
            'text-anchor="middle">from the first operator to the last; dashed: weights</text>'
        ),
        "</svg>",
    ]
    return "\n".join(parts)


def interval_of(interval: Interval | None, divisor: float) -> tuple[float, ...]:
    """The ends of an interval in shown units; empty without an interval."""
    return () if interval is None else (interval.low / divisor, interval.high / divisor)


def _open(kind: str, height: float, title: str, *, role: str = "img", width: int = WIDTH) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height:.0f}" role="{role}" '
        f'aria-label="{html_text(title)}">'
    )


def _row_name(name: str, middle: float) -> str:
    return (
        f'<text class="name" x="196" y="{middle + 4:.0f}" text-anchor="end">'
        f"{html_text(shortened(name, NAME_LETTERS))}</text>"
    )
