"""Which figures of a column are best and second best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from esrbench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.reports.comparison import Figure


def places(metric: str, figures: Sequence[Figure]) -> list[Literal[1, 2] | None]:
    """Places of the figures of one column, in their order; nothing is best where one stands alone.

    What counts is what is shown: figures of equal digits share a place, and so do noisy ones
    whose interval holds a value that the best one's interval holds too.
    """
    if len(figures) <= 1:
        return [None] * len(figures)
    sign = -1 if METRICS[metric].better == "higher" else 1
    shown = [sign * float(figure.shown) for figure in figures]
    found: list[Literal[1, 2] | None] = [None] * len(figures)
    for place in (1, 2):
        rest = [index for index, other in enumerate(found) if other is None]
        if not rest:
            break
        best = min(rest, key=lambda index: (shown[index], sign * figures[index].value))
        for index in rest:
            if shown[index] == shown[best] or _overlap(figures[index], figures[best]):
                found[index] = place
    return found


def _overlap(one: Figure, other: Figure) -> bool:
    """Whether the intervals of two noisy figures meet."""
    if one.interval is None or other.interval is None:
        return False
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high
