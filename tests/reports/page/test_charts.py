from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esrbench.metrics import METRICS
from esrbench.records import PredictedMemory
from esrbench.reports.page.charts import (
    HeldRank,
    Point,
    Scale,
    _label,
    axis,
    bars,
    chart_data,
    dots,
    front,
    front_of,
    ranks,
    scatter,
    shares,
    timeline,
)

RUNTIME, PSNR, PARAMS = METRICS["runtime_images"], METRICS["psnr_rgb"], METRICS["params"]


def drawn(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own


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


ACROSS = Scale.of(RUNTIME, [(10.0, 9.0, 12.0), (100.0,), None])
UP = Scale.of(PSNR, [(29.0,), (28.0,), (27.0,)])
AREA = Scale.of(PARAMS, [(0.4,), (1.6,), (0.1,)])
NAMES, RANKED = ["rfdn", "<script>", "untimed"], [True, True, True]


def test_a_scatter_chart_links_every_entry_to_its_row():
    svg = drawn(scatter(NAMES, RANKED, ACROSS, UP, AREA))
    links = {link.get("href"): link for link in svg.findall("a")}
    assert links.keys() == {"#entry-0", "#entry-1", "#entry-2"}
    assert [links[f"#entry-{n}"].find("title").text for n in range(3)] == [
        "rfdn: Runtime 10.00 ms, PSNR 29.00 dB, Params 0.400 M",
        "<script>: Runtime 100.00 ms, PSNR 28.00 dB, Params 1.600 M",
        None,
    ]
    # Who has no place in this chart is there for the script to move.
    assert "absent" in links["#entry-2"].get("class")
    radii = [float(links[f"#entry-{n}"].find("circle").get("r")) for n in range(2)]
    assert radii[1] / radii[0] == pytest.approx(2, rel=0.01)  # area 4 to 1
    assert links["#entry-0"].find("path").get("d").startswith("M")
    assert links["#entry-1"].find("path").get("d") == ""


@pytest.mark.parametrize(
    ("letters", "expected"), [((22, 12, 8), ">team01_&#8230;</text>"), ((22,), "")]
)
def test_a_name_is_shortened_where_there_is_no_room_for_the_whole(letters, expected):
    # Above and below all is taken; on the left too; on the right eight letters have room.
    taken = [(0, 0, 760, 84), (0, 112, 760, 400), (0, 84, 290, 112), (390, 84, 760, 112)]
    named = _label("team01_network", (300, 100), 5, taken, letters)
    assert named.endswith(expected)
    assert bool(named) == bool(expected)


def test_the_script_is_given_what_the_first_chart_is_drawn_from():
    data = chart_data([ACROSS, UP], RANKED)
    left, right, bottom, top = data["frame"]
    across, up = (each["scales"][each["log"]] for each in data["metrics"])
    svg = drawn(scatter(NAMES, RANKED, ACROSS, UP, None))
    for entry in (0, 1):
        circle = svg.find(f"a[@data-entry='{entry}']/circle")
        x, y = across["shares"][entry][0], up["shares"][entry][0]
        assert float(circle.get("cx")) == pytest.approx(left + x * (right - left), abs=0.1)
        assert float(circle.get("cy")) == pytest.approx(bottom + y * (top - bottom), abs=0.1)
    assert across["shares"][2] is None
    assert [text for _, text in across["ticks"]] == ["10", "20", "50", "100"]
    assert data["fronts"] == [[], [[0]]]
    assert front_of(UP, ACROSS, [False, True, True]) == [1]


def test_an_axis_may_be_made_logarithmic_or_linear():
    across, up = chart_data([ACROSS, UP], RANKED)["metrics"]
    linear, logarithmic = across["scales"]
    assert (across["log"], up["log"]) == (True, False)
    # 10 of 9 to 100 ms, with 8 % of 91 ms and a quarter of either end to spare.
    assert linear["shares"][0][0] == pytest.approx(8.28 / 105.56, abs=1e-4)
    share = math.log(10 / 7.2) / math.log(125 / 7.2)
    assert logarithmic["shares"][0][0] == pytest.approx(share, abs=1e-4)
    assert up["scales"][1] is None  # decibels are logarithms already
    _, close = Scale.of(RUNTIME, [(11.0,), (12.0,)]).either_way()
    assert close.axis.ticks() == [10, 12, 14]


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
