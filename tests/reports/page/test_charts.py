from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from esrbench.metrics import METRICS
from esrbench.records import PredictedMemory
from esrbench.reports.page.charts import HeldRank, bars, dots, ranks, shares, timeline

PARAMS = METRICS["params"]


def drawn(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own


def test_nothing_makes_no_chart():
    assert dots([], "none") == ""
    assert dots([()], "none") == ""
    assert dots([[()]], "none") == ""


def test_bars_and_dots_are_valid_svg():
    drawn(bars([("a & b", 1e6), ("c", 0.0)], PARAMS))
    # Two figures of one thing at the same pixel are one dot.
    svg = drawn(dots([[(10.0, 10.0, 20.0), (15.0,)], [(10.0,)]], "rounds"))
    paths = [path for path in svg.iter("path") if "dots" in path.get("class", "")]
    assert [path.get("d").count("h0") for path in paths] == [3, 1]
    medians = [path.get("d") for path in svg.iter("path") if "medians" in path.get("class", "")]
    assert medians[0].count("L") == 1


def test_shares_and_ranks_are_drawn_in_proportion():
    svg = drawn(shares([("head", (0.25, 0.5)), ("body", (0.75, 0.5))], ["MACs", "Acts"], "net"))
    widths = [float(bar.get("width")) for bar in svg.iter("rect")][2:]
    assert widths[2] / widths[0] == pytest.approx(3, rel=0.01)
    assert "25.0%" in {text.text for text in svg.iter("text")}
    rows = [HeldRank(7, "a", 1, 1, 3, held=0.85), HeldRank(4, "b", 2, 2, 2)]
    svg = drawn(ranks(rows, "Main"))
    titles = [link.find("title").text for link in svg.findall("a")]
    assert titles == ["a: rank 1, 1 to 3 are possible, holds in 85% of resamples", "b: rank 2"]
    assert [link.get("data-entry") for link in svg.findall("a")] == ["7", "4"]


def test_memory_over_a_forward_is_drawn_up_to_its_peak():
    memory = PredictedMemory(
        input_size=(8, 8),
        weights_bytes=2**20,
        input_bytes=0,
        output_bytes=0,
        peak_bytes=4 * 2**20,
        allocator_bytes=(0, 0),
        peak_operator="aten::<b>",
        timeline=(2**20, 3 * 2**20, 4 * 2**20, 2**20),
    )
    svg = drawn(timeline(memory))
    assert "4.0 MiB at aten::<b>" in svg.get("aria-label")
    points = svg.find("path[@class='area']").get("d").split("L")[1:]
    heights = [170 - float(point.split()[1].split("V")[0]) for point in points]
    assert heights == pytest.approx([heights[0] * n for n in (1, 3, 4, 1)], abs=0.2)
    assert timeline(memory.model_copy(update={"timeline": ()})) == ""
