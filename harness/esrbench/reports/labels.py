"""Place the names of a figure's points beside their markers, so that they cover nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from matplotlib.figure import Figure

    from esrbench.reports.page.axes import Point


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """A place of a label: direction from its marker and points from the marker's edge."""

    distance: float
    right: float
    up: float

    def offset(self, radius: float) -> tuple[float, float]:
        """Offset to the right and up from the centre of a marker; all values are in points."""
        distance = radius + self.distance
        return self.right * distance, self.up * distance

    def box(
        self, marker: Sequence[float], radius: float, size: Sequence[float], unit: float
    ) -> Any:
        """The area of a label of a given size, in pixels; the radius is in points.

        ``unit`` is pixels a point.
        """
        from matplotlib.transforms import Bbox

        directions, offsets = (self.right, self.up), self.offset(radius)
        corner = [
            middle + offset * unit + (round(direction) - 1) / 2 * length
            for middle, offset, direction, length in zip(
                marker, offsets, directions, size, strict=True
            )
        ]
        return Bbox.from_bounds(*corner, *size)


NEAR: Final = (2.0, 10.0, 20.0)
DIRECTIONS: Final = (
    *((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)),
    *((right, up) for right in (0.7, -0.7) for up in (-0.7, 0.7)),
)
PLACES: Final = [LabelPlace(distance, *each) for distance in NEAR for each in DIRECTIONS]
"""Places of labels, the preferred first."""
AROUND_MARKER: Final = 1.0
"""Points around a marker that no label should cover."""


def name_points(
    figure: Figure,
    axes: Any,
    labels: Mapping[Point, str],
    lines: Sequence[tuple[float, float]],
    radii: Mapping[Point, float],
) -> None:
    """Put labels beside their points so that they cover nothing else. Lines connect distant labels.

    Args:
        figure: figure of the axes.
        axes: axes on which the points are drawn.
        labels: label of each point.
        lines: ends of the Pareto front or of arrows, which labels must not cover.
        radii: radius of each point's marker, in typographic points.
    """
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    inside = axes.get_window_extent(renderer)
    markers = {point: axes.transData.transform((point.x, point.y)) for point in labels}
    unit = figure.dpi / 72
    crossed = _along([axes.transData.transform(end) for end in lines])
    taken: list[Any] = []
    for point in sorted(labels, key=lambda each: (each.x, each.y)):
        middle = {"xy": (point.x, point.y), "textcoords": "offset points", "fontsize": 7}
        label = axes.annotate(labels[point], xytext=(0, 0), ha="left", va="bottom", **middle)
        size = label.get_window_extent(renderer).size
        label.remove()
        marker = markers[point]
        others = np.array([place for each, place in markers.items() if each is not point])
        around = [radii[each] + AROUND_MARKER for each in markers if each is not point]
        boxes = [place.box(marker, radii[point], size, unit) for place in PLACES]
        best, box = min(
            zip(PLACES, boxes, strict=True),
            key=lambda each: (
                _in_the_way(each[1], marker, others, np.array(around) * unit, crossed, unit=unit)
                + 10.0 * sum(each[1].overlaps(other) for other in taken)
                + 20.0 * _sticks_out(each[1], inside)
                + 0.02 * each[0].distance
            ),
        )
        taken.append(box)
        tie = {"arrowstyle": "-", "color": "0.5", "lw": 0.4, "shrinkB": 3}
        axes.annotate(
            labels[point],
            xytext=best.offset(radii[point]),
            ha={1: "left", 0: "center", -1: "right"}[round(best.right)],
            va={1: "bottom", 0: "center", -1: "top"}[round(best.up)],
            zorder=5,
            arrowprops=None if best.distance == NEAR[0] else tie,
            **middle,
        )


def _sticks_out(box: Any, inside: Any) -> bool:
    return bool(
        box.x0 < inside.x0 or box.x1 > inside.x1 or box.y0 < inside.y0 or box.y1 > inside.y1
    )


def _in_the_way(
    box: Any,
    marker: npt.NDArray[np.float64],
    others: npt.NDArray[np.float64],
    around: npt.NDArray[np.float64],
    crossed: npt.NDArray[np.float64],
    *,
    unit: float,
) -> float:
    """Cost of a label's place: it is high on markers, near other points and on the front.

    Args:
        box: box of the label, in pixels, like all other places.
        marker: (2,), marker of the label.
        others: (N, 2), other markers.
        around: (N,), smallest distance of a label from each of them.
        crossed: (N, 2), places along the front.
        unit: pixels per typographic point.
    """
    own = float(_gaps(box, marker[None])[0])
    gaps = _gaps(box, others)
    return float(
        10.0 * (gaps < around).sum()
        + (gaps < own).sum()
        + 2.0 * (_gaps(box, crossed) < 2 * unit).any()
    )


def _gaps(box: Any, places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance in pixels between a box and each of (N, 2) places; 0 inside the box."""
    low, high = np.array([box.x0, box.y0]), np.array([box.x1, box.y1])
    apart = np.maximum(np.maximum(low - places.reshape(-1, 2), places.reshape(-1, 2) - high), 0)
    return np.asarray(np.hypot(*apart.T))


def _along(ends: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(N, 2) places along straight lines from end to end."""
    steps = np.linspace(0, 1, 50)
    places = [one + (other - one) * step for one, other in pairwise(ends) for step in steps]
    return np.array(places).reshape(-1, 2)
