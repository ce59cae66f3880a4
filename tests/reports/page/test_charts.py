from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from esrbench.metrics import METRICS
from esrbench.reports.page.charts import Point, axis, bars, front, rounds, scatter

RUNTIME, PSNR, PARAMS = METRICS["runtime_images"], METRICS["psnr_rgb"], METRICS["params"]


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


def test_a_scatter_chart_links_every_entry_to_its_row():
    points = [
        Point(0, "rfdn", 10.0, 29.0, 0.4, x_interval=(9.0, 12.0)),
        Point(1, "<script>", 100.0, 28.0, 1.6),
    ]
    svg = ET.fromstring(scatter(points, RUNTIME, PSNR, PARAMS))  # noqa: S314 - our own
    space = {"s": "http://www.w3.org/2000/svg"} if "}" in svg.tag else {}
    links = svg.findall(".//s:a" if space else ".//a", space)
    assert {link.get("href") for link in links} == {"#entry-0", "#entry-1"}
    titles = {link[0].text for link in links}
    assert titles == {
        "rfdn: Runtime 10.00 ms, PSNR 29.00 dB, Params 0.400 M",
        "<script>: Runtime 100.00 ms, PSNR 28.00 dB, Params 1.600 M",
    }
    radii = {link.get("href"): float(link.find("circle").get("r")) for link in links}
    assert radii["#entry-1"] / radii["#entry-0"] == pytest.approx(2, rel=0.01)  # area 4 to 1


def test_no_entry_makes_no_chart():
    assert scatter([], RUNTIME, PSNR, None) == ""
    assert rounds([], "none") == ""
    assert rounds([()], "none") == ""


def test_bars_and_rounds_are_valid_svg():
    ET.fromstring(bars([("a & b", 1e6), ("c", 0.0)], PARAMS))  # noqa: S314
    drawing = ET.fromstring(rounds([(0.01, 0.02), (0.01,)], "rounds"))  # noqa: S314
    dots = [path.get("d") for path in drawing.iter("path") if "dots" in path.get("class", "")]
    assert [each.count("h0") for each in dots] == [2, 1]
