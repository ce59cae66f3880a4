from __future__ import annotations

import pytest

from esrbench.records import Interval
from esrbench.reports.comparison import CellValue, places


def figures(*values: float, digits: int = 2, width: float | None = None) -> list[CellValue]:
    return [
        CellValue(
            value=value,
            shown=f"{value:.{digits}f}",
            source="here",
            interval=None
            if width is None
            else Interval(low=value - width, high=value + width, confidence=0.95, method="student"),
        )
        for value in values
    ]


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("psnr_y", (32.1, 32.3, 32.2), [None, 1, 2]),
        ("params", (3.0, 1.0, 2.0), [None, 1, 2]),
        ("psnr_y", (32.214, 32.206, 32.1, 32.0), [1, 1, 2, None]),  # both print 32.21
        ("psnr_y", (32.3, 32.104, 32.096), [1, 2, 2]),
        ("psnr_y", (32.1, 32.1), [1, 1]),
        ("psnr_y", (32.1,), [None]),
        ("psnr_y", (), []),
    ],
)
def test_places_are_decided_by_what_is_shown(
    metric: str, values: tuple[float, ...], expected: list[int | None]
) -> None:
    assert places(metric, figures(*values)) == expected


def test_noisy_figures_within_each_other_s_intervals_share_a_place() -> None:
    assert places("runtime_images", figures(1.0, 1.05, 1.3, 1.9, width=0.03)) == [1, 1, 2, None]
    assert places("runtime_images", figures(1.0, 1.05, 1.3, 1.9)) == [1, 2, None, None]
