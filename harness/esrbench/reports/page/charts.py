"""Charts as SVG: what a browser without scripts, a printer and a screen reader get.

Colours, fonts and dark mode are the style sheet's; elements carry classes only. For other axes the
script moves what is drawn here. It computes no scale, tick, area or front: ``Scale`` and ``front``
have them for every metric.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from esrbench.metrics import MIB
from esrbench.plaintext import line
from esrbench.reports.formats.html import html_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from esrbench.metrics import Metric
    from esrbench.records import Interval, PredictedMemory

WIDTH: Final = 760
HEIGHT: Final = 440
PANEL_WIDTH: Final = 420
"""Width of charts that are shown side by side."""
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 16, 52
"""Margins around the plotting area, in pixels of the view box."""
LEAST_RADIUS: Final = 5.0
MOST_RADIUS: Final = 18.0
LOG_RATIO: Final = 3.0
"""An axis of what is counted in multiples is logarithmic from this ratio of its ends on."""
FEWEST_TICKS: Final = 3
"""With fewer round values, a logarithmic axis has equal steps, and a linear one smaller steps."""
LABEL_HEIGHT: Final = 14
LABEL_LETTERS: Final = (22, 12, 8)
"""At most so many of a name stand in a chart; fewer on the front where it is crowded."""
LETTER_WIDTH: Final = 9
"""About what a letter takes at the labels' size."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels.

    Attributes:
        low: value at the start.
        high: value at the end.
        log: whether equal ratios are equally far apart.
        start: pixel of the low end.
        end: pixel of the high end.
    """

    low: float
    high: float
    log: bool
    start: float
    end: float

    def place(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values between the ends: 1, 2 and 5 times a power of ten, or equal steps."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            known = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            ticks = [tick for tick in known if self.low <= tick <= self.high]
            if len(ticks) >= FEWEST_TICKS:
                return ticks
        for most in (5, 10):
            rough = (self.high - self.low) / most
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            if last - first + 1 >= FEWEST_TICKS:
                break
        return [step * k for k in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Point:
    """An entry by two metrics and perhaps a third, in shown units.

    Attributes:
        entry: its number on the page.
        name: shown beside it.
        x: across.
        y: up.
        area: what its area is in proportion to, or None.
        x_interval: of ``x``, or None.
        y_interval: of ``y``, or None.
        ranked: it may lie on the Pareto front.
    """

    entry: int
    name: str
    x: float
    y: float
    area: float | None = None
    x_interval: tuple[float, float] | None = None
    y_interval: tuple[float, float] | None = None
    ranked: bool = True


class HeldRank(NamedTuple):
    """A rank of an entry and what noise leaves of it.

    Attributes:
        entry: its number on the page.
        name: shown beside it.
        rank: as printed.
        low: best one that is possible.
        high: worst one.
        held: share of resamples that gave the printed rank, or None.
    """

    entry: int
    name: str
    rank: int
    low: int
    high: int
    held: float | None = None


Reading = tuple[float, ...] | None
"""A value with the ends of its interval, if it has one, in shown units."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One metric of all entries, to be drawn across, up or as area.

    Attributes:
        metric: which one.
        readings: of each entry; None where it has none.
        axis: from 0 to 1.
    """

    metric: Metric
    readings: tuple[Reading, ...]
    axis: Axis

    @classmethod
    def of(cls, metric: Metric, readings: Iterable[Reading]) -> Scale:
        """The scale on which all readings have room; at least one is not None."""
        kept = tuple(readings)
        return cls(metric, kept, axis(_ends(kept), 0, 1, multiples=metric.better == "lower"))

    def either_way(self) -> tuple[Scale, Scale | None]:
        """The same linear, and logarithmic where the metric is counted in multiples."""
        ends = _ends(self.readings)
        linear = axis(ends, 0, 1, multiples=False)
        if self.metric.better != "lower" or min(ends) <= 0:
            return replace(self, axis=linear), None
        logarithmic = Axis(min(ends) / 1.25, max(ends) * 1.25, log=True, start=0, end=1)
        return replace(self, axis=linear), replace(self, axis=logarithmic)

    def shares(self, entry: int) -> tuple[float, ...] | None:
        """Positions of an entry and the ends of its interval on the axis, 0 to 1."""
        reading = self.readings[entry]
        return None if reading is None else tuple(map(self.axis.place, reading))

    def ticks(self) -> list[tuple[float, str]]:
        """Places on the axis, 0 to 1, and what is written there."""
        return [(self.axis.place(tick), f"{tick:.6g}") for tick in self.axis.ticks()]

    def radius(self, entry: int) -> float:
        """Pixels of a circle whose area is in proportion to the metric."""
        reading = self.readings[entry]
        largest = max(each[0] for each in self.readings if each)
        if reading is None or largest <= 0 or reading[0] <= 0:
            return LEAST_RADIUS
        return max(LEAST_RADIUS, MOST_RADIUS * math.sqrt(reading[0] / largest))

    def says(self, entry: int) -> str:
        """An entry's value in words; empty where it has none."""
        reading, metric = self.readings[entry], self.metric
        if reading is None:
            return ""
        return f"{metric.label} {reading[0]:.{metric.digits}f} {metric.unit}".rstrip()


def _ends(readings: Iterable[Reading]) -> list[float]:
    """All values and ends of intervals."""
    return [end for reading in readings if reading for end in reading]


def axis(values: Iterable[float], start: float, end: float, *, multiples: bool) -> Axis:
    """An axis on which all values have room.

    Args:
        values: at least one.
        start: pixel of its low end.
        end: pixel of its high end.
        multiples: the values are counts, times or bytes, so that a logarithm may suit them.
    """
    known = list(values)
    low, high = min(known), max(known)
    if multiples and low > 0 and high / low >= LOG_RATIO:
        return Axis(low / 1.25, high * 1.25, log=True, start=start, end=end)
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return Axis(low - margin, high + margin, log=False, start=start, end=end)


def front(points: Iterable[Point], *, x_higher: bool, y_higher: bool) -> list[Point]:
    """Ranked points that no other one equals in both values and beats in one, left to right."""

    def cost(point: Point) -> tuple[float, float]:
        return (-point.x if x_higher else point.x, -point.y if y_higher else point.y)

    kept: list[Point] = []
    for point in sorted((each for each in points if each.ranked), key=cost):
        # Earlier ones cost no more on the horizontal axis. So only one that is better on the
        # vertical axis is not beaten.
        if not kept or cost(point)[1] < cost(kept[-1])[1] or cost(point) == cost(kept[-1]):
            kept.append(point)
    return sorted(kept, key=lambda point: (point.x, point.y))


def front_of(x: Scale, y: Scale, ranked: Sequence[bool]) -> list[int]:
    """Numbers of the entries on the Pareto front of two metrics, left to right."""
    points = [
        Point(entry, "", across[0], up[0], ranked=ranked[entry])
        for entry, (across, up) in enumerate(zip(x.readings, y.readings, strict=True))
        if across and up
    ]
    higher = {"x_higher": x.metric.better == "higher", "y_higher": y.metric.better == "higher"}
    return [point.entry for point in front(points, **higher)]


def chart_data(scales: Sequence[Scale], ranked: Sequence[bool]) -> dict[str, Any]:
    """The data that the script needs to draw any two metrics and a third one as area."""
    entries = range(len(ranked))
    return {
        "frame": [LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM, TOP],
        "radius": LEAST_RADIUS,
        "letters": LABEL_LETTERS,
        "metrics": [
            {
                "heading": scale.metric.heading,
                "log": scale.axis.log,
                "scales": [_scale_data(each) for each in scale.either_way()],
                "radii": [round(scale.radius(n), 1) for n in entries],
                "says": [scale.says(n) for n in entries],
            }
            for scale in scales
        ],
        # The front of two metrics is the same whichever of them goes across.
        "fronts": [
            [front_of(scales[one], scales[other], ranked) for other in range(one)]
            for one in range(len(scales))
        ],
    }


def _scale_data(scale: Scale | None) -> dict[str, Any] | None:
    """Positions of the ticks and the entries on an axis, 0 to 1."""
    if scale is None:
        return None
    placed = (scale.shares(entry) for entry in range(len(scale.readings)))
    return {
        "ticks": [(round(at, 4), text) for at, text in scale.ticks()],
        "shares": [[round(at, 4) for at in each] if each else None for each in placed],
    }


def scatter(
    names: Sequence[str], ranked: Sequence[bool], x: Scale, y: Scale, area: Scale | None
) -> str:
    """Entries by two metrics, a third as area, intervals as bars, the Pareto front as a line.

    Entries that lack one of the metrics are in it without a place, for the script to move.
    """
    best = front_of(x, y, ranked)
    title = f"{y.metric.heading} against {x.metric.heading}"
    if area is not None:
        title += f", area in proportion to {area.metric.heading}"
    line_of_best = "".join(
        f"{'L' if index else 'M'}{_pixel(x, entry)[0]:.1f} {_pixel(y, entry, up=True)[0]:.1f}"
        for index, entry in enumerate(best)
    )
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{html_text(title)}">',
        *_frame(x, y),
        f'<path class="front" d="{line_of_best}"/>',
    ]
    sizes = {n: LEAST_RADIUS if area is None else area.radius(n) for n in range(len(names))}
    centres = {
        n: (across[0], up[0])
        for n in sizes
        if (across := _pixel(x, n)) and (up := _pixel(y, n, up=True))
    }
    # Names stand clear of all points; those on the front choose first.
    taken = [
        (cx - r, cy - r, cx + r, cy + r) for n, (cx, cy) in centres.items() for r in [sizes[n]]
    ]
    labels = {
        n: _label(names[n], centres[n], sizes[n], taken, LABEL_LETTERS[: None if n in best else 1])
        for n in sorted(centres, key=lambda n: (n not in best, -sizes[n]))
    }
    for entry in sorted(sizes, key=lambda entry: -sizes[entry]):
        kind = "point" if entry in best else "point dominated"
        says, intervals, centre = "", "", (0.0, 0.0)
        if entry in centres:
            centre = centres[entry]
            figures = [scale.says(entry) for scale in (x, y, area) if scale and scale.says(entry)]
            says = f"{names[entry]}: {', '.join(figures)}"
            intervals = _bars(_pixel(x, entry), _pixel(y, entry, up=True))
        else:
            kind += " absent"
        parts.append(
            f'<a href="#entry-{entry}" data-entry="{entry}" class="{kind}">'
            f"<title>{html_text(says)}</title>"
            f'<path class="interval" d="{intervals}"/>'
            f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{sizes[entry]:.1f}"/>'
            f"{labels.get(entry) or _hidden_label(names[entry])}</a>"
        )
    return "\n".join([*parts, "</svg>"])


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
        rows: name of each part and its shares, 0 to 1, one a measure.
        labels: of the measures, in the same order.
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
    """Ranks, those that noise leaves possible, and how often each holds, an entry a line."""
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
    """Repeated figures of one thing after the other, a colour a process; medians are joined.

    Args:
        processes: of each the things in order, and of each thing its figures, in shown units.
        label: what it shows.
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
            # A line of no length with round ends is a dot, in few bytes; equal ones are one.
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
    """A metric of one entry over time, with intervals; only runs that compare are joined.

    Args:
        stretches: runs that compare with each other, each with its time and its reading in shown
            units, in order.
        metric: which one.
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
    """Predicted GPU memory over one forward, weights included; empty where it is not told."""
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
    """The ends of an interval in shown units; nothing where there is none."""
    return () if interval is None else (interval.low / divisor, interval.high / divisor)


def _open(kind: str, height: float, title: str, *, role: str = "img", width: int = WIDTH) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height:.0f}" role="{role}" '
        f'aria-label="{html_text(title)}">'
    )


def _row_name(name: str, middle: float) -> str:
    return (
        f'<text class="name" x="196" y="{middle + 4:.0f}" text-anchor="end">'
        f"{html_text(_short(name, LABEL_LETTERS[0]))}</text>"
    )


def _pixel(scale: Scale, entry: int, *, up: bool = False) -> tuple[float, ...]:
    """Pixels of an entry and of the ends of its interval; nothing where it has no value."""
    start, end = (HEIGHT - BOTTOM, TOP) if up else (LEFT, WIDTH - RIGHT)
    return tuple(start + share * (end - start) for share in scale.shares(entry) or ())


def _frame(x: Scale, y: Scale) -> Iterator[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    yield '<g class="ticks">'
    for share, text in x.ticks():
        at = LEFT + share * (right - LEFT)
        yield f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
    for share, text in y.ticks():
        at = bottom + share * (TOP - bottom)
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{text}</text>'
    yield f'</g><path class="frame" d="M{LEFT} {TOP}V{bottom}H{right}"/>'
    yield (
        f'<text class="title across" x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" '
        f'text-anchor="middle">{html_text(x.metric.heading)}</text>'
    )
    yield (
        f'<text class="title up" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{html_text(y.metric.heading)}</text>'
    )


def _bars(across: Sequence[float], up: Sequence[float]) -> str:
    """The intervals of a point."""
    parts = []
    if len(across) > 1:
        parts.append(f"M{across[1]:.1f} {up[0]:.1f}H{across[2]:.1f}")
    if len(up) > 1:
        parts.append(f"M{across[0]:.1f} {up[1]:.1f}V{up[2]:.1f}")
    return "".join(parts)


def _label(
    name: str,
    centre: tuple[float, float],
    radius: float,
    taken: list[tuple[float, float, float, float]],
    letters: Sequence[int],
) -> str:
    """The name beside its point where there is room; it is in the point's title anyhow."""
    x, y = centre
    above, below = y - radius - 3, y + radius + 13
    places = [(x + radius + 4, y + 4, "start"), (x - radius - 4, y + 4, "end")]
    for at, anchor in ((x, "middle"), (x - radius, "start"), (x + radius, "end")):
        places += [(at, above, anchor), (at, below, anchor)]
    texts = dict.fromkeys(_short(name, most) for most in letters)
    for text, (at, base, anchor) in product(texts, places):
        width = LETTER_WIDTH * len(text)
        left = at - width * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        box = (left, base - LABEL_HEIGHT, left + width, base)
        inside = box[0] >= LEFT and box[2] <= WIDTH - 2 and box[1] >= 0
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return (
                f'<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'
            )
    return ""


def _hidden_label(name: str) -> str:
    """A name without a place, for the script to move."""
    return f'<text class="crowded">{html_text(_short(name, LABEL_LETTERS[0]))}</text>'


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
