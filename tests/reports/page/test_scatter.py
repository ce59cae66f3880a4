from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest

from esrbench.metrics import METRICS
from esrbench.reports.page.axes import Scale, front_of
from esrbench.reports.page.scatter import _label, chart_data, scatter

RUNTIME, PSNR, PARAMS = METRICS["runtime_images"], METRICS["psnr_rgb"], METRICS["params"]
ACROSS = Scale.of(RUNTIME, [(10.0, 9.0, 12.0), (100.0,), None])
UP = Scale.of(PSNR, [(29.0,), (28.0,), (27.0,)])
AREA = Scale.of(PARAMS, [(0.4,), (1.6,), (0.1,)])
NAMES, RANKED = ["rfdn", "<script>", "untimed"], [True, True, True]


def drawn(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own


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
