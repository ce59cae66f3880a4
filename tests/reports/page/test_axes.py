from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esrbench.reports.page.axes import Point, axis, front


def test_an_axis_of_multiples_is_logarithmic_from_a_ratio_of_three():
    log = axis([1.0, 100.0], 0, 100, multiples=True)
    assert log.log
    assert log.place(10) == pytest.approx(50)
    assert log.ticks() == [1, 2, 5, 10, 20, 50, 100]
    assert not axis([1.0, 2.9], 0, 100, multiples=True).log
    assert not axis([26.0, 90.0], 0, 100, multiples=False).log
    assert not axis([0.0, 90.0], 0, 100, multiples=True).log


def test_a_linear_axis_has_equal_round_steps():
    linear = axis([26.2, 29.1], 400, 0, multiples=False)
    steps = [b - a for a, b in zip(linear.ticks(), linear.ticks()[1:], strict=False)]
    assert steps == pytest.approx([1.0] * len(steps))
    close = axis([24.57, 26.75], 400, 0, multiples=False)  # holds 25 and 26 alone of whole steps
    assert close.ticks() == pytest.approx([24.5, 25.0, 25.5, 26.0, 26.5])
    assert linear.place(linear.low) == 400
    assert linear.place(linear.high) == 0


@pytest.mark.parametrize("values", [[29.0], [29.0, 29.0], [0.0], [-1.0]])
def test_an_axis_of_equal_values_has_room(values):
    found = axis(values, 0, 100, multiples=True)
    assert found.low < values[0] < found.high
    assert found.ticks()


def test_the_front_is_what_nothing_beats():
    points = [
        Point(0, "fast", 1.0, 28.0),
        Point(1, "good", 3.0, 29.0),
        Point(2, "worse", 3.5, 28.5),
        Point(3, "same as good", 3.0, 29.0),
    ]
    kept = front(points, x_higher=False, y_higher=True)
    assert [point.entry for point in kept] == [0, 1, 3]
    assert [p.entry for p in front(points, x_higher=True, y_higher=True)] == [1, 3, 2]


SMALL = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(SMALL, SMALL, st.booleans()), max_size=9), st.booleans(), st.booleans())
def test_the_front_is_that_of_the_definition(values, x_higher, y_higher):
    points = [Point(n, "", x, y, ranked=ranked) for n, (x, y, ranked) in enumerate(values)]

    def gains(one, other):
        return (
            (one.x - other.x) * (1 if x_higher else -1),
            (one.y - other.y) * (1 if y_higher else -1),
        )

    ranked = [point for point in points if point.ranked]
    unbeaten = {
        point.entry
        for point in ranked
        if not any(min(g := gains(other, point)) >= 0 and max(g) > 0 for other in ranked)
    }
    kept = front(points, x_higher=x_higher, y_higher=y_higher)
    assert {point.entry for point in kept} == unbeaten
    assert [point.x for point in kept] == sorted(point.x for point in kept)
