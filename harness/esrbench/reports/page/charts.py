"""Charts as SVG: what a browser without scripts, a printer and a screen reader get.

Colours, fonts and dark mode are the style sheet's; elements carry classes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from esrbench.reports.formats.html import html_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from esrbench.metrics import Metric
    from esrbench.records import Interval

WIDTH: Final = 760
HEIGHT: Final = 440
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 16, 52
"""Margins around the plotting area, in pixels of the view box."""
LEAST_RADIUS: Final = 5.0
MOST_RADIUS: Final = 18.0
LOG_RATIO: Final = 3.0
"""An axis of what is counted in multiples is logarithmic from this ratio of its ends on."""
LABEL_HEIGHT: Final = 14
LETTER_WIDTH: Final = 7
"""About what a letter takes at the labels' size."""


@dataclass(frozen=True, slots=True)
class Axis:
    """From values in base units to pixels.

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
            ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
        else:
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
            first = math.ceil(self.low / step)
            ticks = [step * k for k in range(first, math.floor(self.high / step) + 1)]
        return [tick for tick in ticks if self.low <= tick <= self.high]


@dataclass(frozen=True, slots=True)
class Point:
    """An entry in a scatter chart, in shown units.

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


def front(points: Sequence[Point], *, x_higher: bool, y_higher: bool) -> list[Point]:
    """Ranked points that no other one equals in both values and beats in one, left to right."""

    def beats(one: Point, other: Point) -> bool:
        x, y = (
            (one.x - other.x) * (1 if x_higher else -1),
            (one.y - other.y) * (1 if y_higher else -1),
        )
        return x >= 0 and y >= 0 and (x > 0 or y > 0)

    ranked = [point for point in points if point.ranked]
    kept = [each for each in ranked if not any(beats(other, each) for other in ranked)]
    return sorted(kept, key=lambda point: (point.x, point.y))


def scatter(points: Sequence[Point], x: Metric, y: Metric, area: Metric | None) -> str:
    """Entries by two metrics, a third as area, intervals as bars, the Pareto front as a line."""
    if not points:
        return ""
    across = axis(_ends(points, "x"), LEFT, WIDTH - RIGHT, multiples=x.better == "lower")
    up = axis(_ends(points, "y"), HEIGHT - BOTTOM, TOP, multiples=y.better == "lower")
    best = front(points, x_higher=x.better == "higher", y_higher=y.better == "higher")
    title = f"{y.heading} against {x.heading}"
    if area is not None:
        title += f", area in proportion to {area.heading}"
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{html_text(title)}">',
        *_frame(across, up, x, y),
        f'<path class="front" d="{_path((across.place(p.x), up.place(p.y)) for p in best)}"/>',
    ]
    areas = [point.area for point in points if point.area is not None]
    largest = max(areas, default=0.0)
    taken: list[tuple[float, float, float, float]] = []
    for point in sorted(points, key=lambda point: -(point.area or 0)):
        centre = across.place(point.x), up.place(point.y)
        size = LEAST_RADIUS
        if point.area is not None and largest > 0:
            size = max(LEAST_RADIUS, MOST_RADIUS * math.sqrt(point.area / largest))
        kind = "point" if point in best else "point dominated"
        parts.append(
            f'<a href="#entry-{point.entry}" data-entry="{point.entry}" class="{kind}">'
            f"<title>{html_text(_says(point, x, y, area))}</title>"
            f"{''.join(_bars(point, across, up))}"
            f'<circle cx="{centre[0]:.1f}" cy="{centre[1]:.1f}" r="{size:.1f}"/>'
            f"{_label(point.name, centre, size, taken)}</a>"
        )
    return "\n".join([*parts, "</svg>"])


def bars(values: Sequence[tuple[str, float]], metric: Metric) -> str:
    """Entries' values of one metric as horizontal bars, in the given order."""
    largest = max((value for _, value in values), default=0.0) or 1.0
    height = 24 * len(values)
    parts = [
        (
            f'<svg class="bars" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="{html_text(metric.heading)}">'
        )
    ]
    for index, (name, value) in enumerate(values):
        middle = 24 * index + 12
        length = (WIDTH - 340) * value / largest
        parts.append(
            f'<text class="name" x="196" y="{middle + 4}" text-anchor="end">'
            f"{html_text(_short(name, 26))}</text>"
            f'<rect x="204" y="{middle - 8}" width="{length:.1f}" height="16"/>'
            f'<text x="{210 + length:.1f}" y="{middle + 4}">{metric.format(value)}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def rounds(series: Sequence[Sequence[float]], label: str) -> str:
    """Times in the order in which they were taken, a line of points a process, milliseconds up.

    Args:
        series: seconds of the forwards, a process each.
        label: what was timed.
    """
    longest = max(map(len, series), default=0)
    shown = [[second * 1e3 for second in each] for each in series]
    if not longest:
        return ""
    up = axis([value for each in shown for value in each], 120, 8, multiples=True)
    step = (WIDTH - LEFT - RIGHT) / max(longest - 1, 1)
    parts = [
        (
            f'<svg class="rounds" viewBox="0 0 {WIDTH} 136" role="img" '
            f'aria-label="{html_text(label)}">'
        )
    ]
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(
            f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for index, each in enumerate(shown):
        # A line of no length with round ends is a dot, in few bytes.
        dots = "".join(
            f"M{LEFT + step * at:.0f} {up.place(value):.0f}h0" for at, value in enumerate(each)
        )
        parts.append(f'<path class="dots process-{index % 5}" d="{dots}"/>')
    return "\n".join([*parts, "</svg>"])


def interval_of(interval: Interval | None, divisor: float) -> tuple[float, float] | None:
    """The ends of an interval in shown units."""
    return None if interval is None else (interval.low / divisor, interval.high / divisor)


def _ends(points: Sequence[Point], name: str) -> Iterator[float]:
    for point in points:
        yield getattr(point, name)
        yield from getattr(point, f"{name}_interval") or ()


def _frame(across: Axis, up: Axis, x: Metric, y: Metric) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    for tick in across.ticks():
        at = across.place(tick)
        yield f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{tick:.4g}</text>'
    for tick in up.ticks():
        at = up.place(tick)
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
    yield f'<path class="frame" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>'
    centre = (LEFT + WIDTH - RIGHT) / 2
    yield (
        f'<text class="title" x="{centre}" y="{HEIGHT - 10}" text-anchor="middle">'
        f"{html_text(x.heading)}</text>"
    )
    yield (
        f'<text class="title" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)" '
        f'text-anchor="middle">{html_text(y.heading)}</text>'
    )


def _path(places: Iterable[tuple[float, float]]) -> str:
    """Straight lines from point to point."""
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(places))


def _bars(point: Point, across: Axis, up: Axis) -> Iterator[str]:
    x, y = across.place(point.x), up.place(point.y)
    if point.x_interval is not None:
        low, high = map(across.place, point.x_interval)
        yield f'<path class="interval" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
    if point.y_interval is not None:
        low, high = map(up.place, point.y_interval)
        yield f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'


def _says(point: Point, x: Metric, y: Metric, area: Metric | None) -> str:
    shown = [(x, point.x), (y, point.y)]
    if area is not None and point.area is not None:
        shown.append((area, point.area))
    figures = ", ".join(
        f"{metric.label} {value:.{metric.digits}f} {metric.unit}".rstrip()
        for metric, value in shown
    )
    return f"{point.name}: {figures}"


def _label(
    name: str,
    centre: tuple[float, float],
    radius: float,
    taken: list[tuple[float, float, float, float]],
) -> str:
    """The name beside its point where there is room; it is in the point's title anyhow."""
    text = _short(name, 22)
    width = LETTER_WIDTH * len(text)
    x, y = centre
    places = (
        (x + radius + 4, y + 4, "start", x + radius + 4),
        (x - radius - 4, y + 4, "end", x - radius - 4 - width),
        (x, y - radius - 5, "middle", x - width / 2),
        (x, y + radius + 13, "middle", x - width / 2),
    )
    for at, base, anchor, left in places:
        box = (left, base - LABEL_HEIGHT, left + width, base)
        inside = box[0] >= LEFT and box[2] <= WIDTH - 2 and box[1] >= 0
        if inside and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return (
                f'<text x="{at:.1f}" y="{base:.1f}" text-anchor="{anchor}">{html_text(text)}</text>'
            )
    return ""


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
