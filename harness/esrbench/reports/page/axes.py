"""Places of figures in a chart: axes, scales and the Pareto front."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from esrbench.metrics import Metric

LEAST_RADIUS: Final = 5.0
MOST_RADIUS: Final = 18.0
LOG_RATIO: Final = 3.0
"""An axis of counts, times or bytes is logarithmic from this ratio of its ends on."""
FEWEST_TICKS: Final = 3
"""With fewer round values than this, a logarithmic axis has equal steps, a linear one smaller."""


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis, which maps values to pixels.

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


@dataclass(frozen=True, slots=True)
class Point:
    """An entry by two metrics and perhaps a third, in shown units.

    Attributes:
        entry: number of the entry on the page.
        name: name that is shown beside it.
        x: horizontal value.
        y: vertical value.
        area: value that its area is in proportion to, or None.
        x_interval: interval of ``x``, or None.
        y_interval: interval of ``y``, or None.
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


Reading = tuple[float, ...] | None
"""A value with the ends of its interval, if it has one, in shown units."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One metric of all entries, for an axis or as area.

    Attributes:
        metric: the metric.
        readings: reading of each entry; None for an entry without one.
        axis: axis from 0 to 1.
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
        """The scale with a linear axis; and with a logarithmic one for counts, times or bytes."""
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
        """Places on the axis, 0 to 1, with their labels."""
        return [(self.axis.place(tick), f"{tick:.6g}") for tick in self.axis.ticks()]

    def radius(self, entry: int) -> float:
        """Pixels of a circle whose area is in proportion to the metric."""
        reading = self.readings[entry]
        largest = max(each[0] for each in self.readings if each)
        if reading is None or largest <= 0 or reading[0] <= 0:
            return LEAST_RADIUS
        return max(LEAST_RADIUS, MOST_RADIUS * math.sqrt(reading[0] / largest))

    def says(self, entry: int) -> str:
        """An entry's value as text; empty if it has none."""
        reading, metric = self.readings[entry], self.metric
        if reading is None:
            return ""
        return f"{metric.label} {reading[0]:.{metric.digits}f} {metric.unit}".rstrip()


def _ends(readings: Iterable[Reading]) -> list[float]:
    """All values and ends of intervals."""
    return [end for reading in readings if reading for end in reading]


def front(points: Iterable[Point], *, x_higher: bool, y_higher: bool) -> list[Point]:
    """Ranked points that no other point dominates, left to right."""

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
