from __future__ import annotations

import shutil
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest
from builders import run
from typer.testing import CliRunner

from esrbench.cli.app import app
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.records import Block
from esrbench.reports.comparing import build_comparison
from esrbench.reports.comparison_sources import Wanted
from esrbench.reports.figure_style import save
from esrbench.reports.figures import ablation, cost, notes_below, pareto


@pytest.fixture(scope="module")
def published():
    wanted = Wanted(data=("urban100",), scales=(4,), columns=("params", "psnr_y"), published=True)
    return build_comparison([], wanted, default_registry())


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_equal_data_give_equal_bytes_and_nobody_s_settings_change(form, published, tmp_path):
    before = dict(mpl.rcParams)
    for name in ("one", "two"):
        save(pareto(published, own=["rfdn-paper"]), tmp_path / f"{name}.{form}")
    assert (tmp_path / f"one.{form}").read_bytes() == (tmp_path / f"two.{form}").read_bytes()
    assert dict(mpl.rcParams) == before


def test_fonts_are_embedded_as_true_type(published, tmp_path):
    save(pareto(published), tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/Type42" in content or b"/CIDFontType2" in content
    assert b"/Subtype /Type3" not in content


def test_entries_stand_at_their_published_figures(published):
    axes = pareto(published).axes[0]
    places = {
        tuple(np.round(c.get_offsets()[0], 3)) for c in axes.collections if len(c.get_offsets())
    }
    by_name = {line.entry: line.cells for line in published.lines}
    params, psnr = by_name["rcan"]
    assert psnr.value == 26.82  # of the SwinIR paper's table
    assert (round(params.value / 1e6, 3), 26.82) in places
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "Params [M]"


def test_numbers_below_the_axis_do_not_touch(make_run):
    records = [make_run("team07-fastsr", {"params": 12_048, "psnr_y": 26.12})]
    wanted = Wanted(columns=("params", "psnr_y"))
    figure = pareto(build_comparison(records, wanted, default_registry()))
    figure.canvas.draw()
    drawn = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(drawn) > 2
    assert all(left.x1 < right.x0 for left, right in pairwise(drawn))


@pytest.mark.parametrize(("columns", "width"), [(1, 3.25), (2, 6.875)])
def test_widths_are_those_of_articles(columns, width, published):
    assert pareto(published, columns=columns).get_size_inches()[0] == width


def test_no_label_lies_on_a_marker_or_on_another(published):
    figure = pareto(published)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    shown = [point for point in published.lines if all(hasattr(c, "value") for c in point.cells)]
    assert len(boxes) == len(shown) > 5
    assert not any(one.overlaps(two) for i, one in enumerate(boxes) for two in boxes[:i])
    markers = [
        axes.transData.transform(spot) for each in axes.collections for spot in each.get_offsets()
    ]
    assert not any(box.contains(*marker) for box in boxes for marker in markers)


def test_labels_stand_beside_large_markers_and_numbers_are_many_enough(make_run):
    records = [
        make_run(name, {"params": params, "psnr_y": 28 + params / 1e6, "macs_ntire2022": macs})
        for name, params, macs in (
            ("rfdn", 4.3e5, 27e9),
            ("imdn", 7.1e5, 46e9),
            ("aidn", 2e5, 15e9),
        )
    ]
    wanted = Wanted(columns=("macs_ntire2022", "psnr_y", "params"))
    figure = pareto(build_comparison(records, wanted, default_registry()))
    figure.draw_without_rendering()
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 3
    drawn = [each for each in axes.collections if each.get_sizes().size and each.get_sizes()[0]]
    assert len(drawn) == 3
    for text in axes.texts:
        box = text.get_window_extent()
        for marker in drawn:
            ((x, y),) = axes.transData.transform(marker.get_offsets())
            near = np.clip(x, box.x0, box.x1), np.clip(y, box.y0, box.y1)
            radius = np.sqrt(marker.get_sizes()[0]) / 2 * figure.dpi / 72
            assert np.hypot(near[0] - x, near[1] - y) >= radius


def test_what_ran_here_is_a_star_among_published_figures(make_run):
    record = make_run("rfdn", {"params": 433_448, "psnr_y": 26.0}, data="urban100")
    wanted = Wanted(data=("urban100",), scales=(4,), columns=("params", "psnr_y"), published=True)
    comparison = build_comparison([record], wanted, default_registry())
    stars = [
        tuple(np.round(each.get_offsets()[0], 3))
        for each in pareto(comparison).axes[0].collections
        if len(each.get_paths()[0].vertices) == 11  # of a star
    ]
    assert stars == [(0.433, 26.0)]


def test_demonstration_weights_are_marked_as_in_tables(make_run):
    records = [
        make_run("rfdn", {"params": 4e5, "psnr_y": 32.2}, weights="demo"),
        make_run("imdn", {"params": 7e5, "psnr_y": 32.1}),
    ]
    comparison = build_comparison(records, Wanted(columns=("params", "psnr_y")), default_registry())
    figure = pareto(comparison, own=["rfdn"])
    assert {text.get_text() for text in figure.axes[0].texts} == {"RFDN\u2021", "IMDN"}
    said = "Demonstration weights of esrbench, not the authors'"
    assert figure.get_supxlabel() == f"\u2021 {said}."
    assert [note.text for note in notes_below(comparison)] == [f"{said}: RFDN (x4)."]


def test_an_area_that_no_entry_has_is_refused(make_run):
    record = make_run("rfdn", {"params": 4e5, "psnr_y": 32.2})
    wanted = Wanted(columns=("params", "psnr_y", "peak_bytes"))
    with pytest.raises(UsageError, match=r"no entry with Params and PSNR-Y has GPU Mem., the area"):
        pareto(build_comparison([record], wanted, default_registry()))


def test_notes_say_who_is_not_drawn_and_whose_scores_were_never_published(make_run):
    records = [
        make_run("aidn", {"params": 3.4e5, "psnr_y": 26.1}, data="urban100"),
        make_run("imdn", {"params": 7e5}, data="urban100"),
        make_run("bicubic", {"params": 0, "psnr_y": 23.1}, data="urban100", role="floor"),
    ]
    columns = ("params", "psnr_y")
    wanted = Wanted(data=("urban100",), scales=(4,), columns=columns, published=True)
    notes = [
        note.text for note in notes_below(build_comparison(records, wanted, default_registry()))
    ]
    assert "No published scores on Urban100 are known, only runs here: AIDN (x4)." in notes
    (left_out,) = [note for note in notes if note.startswith("Not drawn")]
    assert "IMDN (PSNR-Y: not in this test)" in left_out
    assert "Bicubic (Params is 0)" in left_out
    assert "RFDN" not in left_out


HOSTILE = (
    r"$\frac{",
    r"\input{/etc/passwd}%",
    "x" * 300,
    "\u05e9\u05dc\u05d5\u05dd",
    "50 % & _^~#",
)


def hostile(make_run):
    values = enumerate(HOSTILE, 1)
    return [make_run(name, {"params": 1e5 * i, "psnr_y": 20.0 + i}) for i, name in values]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_names_are_text_of_bounded_length_and_nothing_else(make_run, tmp_path):
    wanted = Wanted(columns=("params", "psnr_y"))
    comparison = build_comparison(hostile(make_run), wanted, default_registry())
    figure = pareto(comparison)
    save(figure, tmp_path / "a.png")
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert texts == {*HOSTILE, "x" * 27 + "\N{HORIZONTAL ELLIPSIS}"} - {"x" * 300}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not on PATH")
def test_pgf_holds_names_as_text_and_compiles(make_run, tmp_path):
    records = [each for each in hostile(make_run) if each.entry.name.isascii()]
    comparison = build_comparison(records, Wanted(columns=("params", "psnr_y")), default_registry())
    figure = pareto(comparison)
    save(figure, tmp_path / "a.pgf")
    text = (tmp_path / "a.pgf").read_text()
    assert not [each for each in text.splitlines() if r"\input" in each and each[0] != "%"]
    assert r"\textbackslash{}input\{/etc/passwd\}" in text
    assert r"\input{/etc/passwd}%" in {each.get_text() for each in figure.axes[0].texts}
    preamble = r"\documentclass{article}\usepackage{pgf}\begin{document}"
    (tmp_path / "p.tex").write_text(preamble + r"\input{a.pgf}\end{document}")
    if run("kpsewhich", "pgf.sty", code=None).returncode:
        pytest.skip("pgf.sty is not installed; the file itself was looked at")
    run("pdflatex", "-interaction=nonstopmode", "-halt-on-error", "p", folder=tmp_path)


def test_an_ablation_shows_each_variant_against_its_parent(make_run):
    figures = {"aidn": (339_000, 26.0), "aidn-a0": (400_000, 25.5), "aidn-a1": (339_000, 25.75)}
    records = [
        make_run(name, {"params": params, "psnr_y": psnr})
        for name, (params, psnr) in figures.items()
    ]
    wanted = Wanted(entries=tuple(figures), columns=("params", "psnr_y"))
    (axes,) = ablation(build_comparison(records, wanted, default_registry())).axes
    texts = [each.get_text() for each in axes.texts if each.get_text()]
    assert sorted(texts) == ["AIDN", "AIDN-A0\n-0.50 dB", "AIDN-A1\n-0.25 dB"]
    arrows = [each for each in axes.texts if not each.get_text()]
    assert [tuple(each.get_position()) for each in arrows] == [(0.339, 26.0)] * 2
    assert [each.xy for each in arrows] == [(0.4, 25.5), (0.339, 25.75)]


@pytest.mark.parametrize(
    ("measured", "said"),
    [
        ({"aidn": 26.0}, "no variant has both Params and PSNR-Y"),
        ({"aidn-a0": 26.0}, "not AIDN, the parent, has both"),
    ],
)
def test_an_ablation_without_a_pair_says_which_is_missing(make_run, measured, said):
    records = [
        make_run(name, {"params": 1.0} | ({"psnr_y": measured[name]} if name in measured else {}))
        for name in ("aidn", "aidn-a0")
    ]
    wanted = Wanted(entries=("aidn", "aidn-a0"), columns=("params", "psnr_y"))
    with pytest.raises(UsageError, match=said):
        ablation(build_comparison(records, wanted, default_registry()))


def block(name, macs, activations=0, size=0):
    return Block(
        name=name,
        kind="Conv2d",
        output_shape=(),
        params=0,
        macs=macs,
        activations=activations,
        allocated_bytes=size,
    )


def test_a_figure_of_cost_shows_the_share_of_each_outermost_block():
    blocks = (
        block("(network)", 100, 10, 0),
        block("head", 20, 1),
        block("body.0", 70, 6),
        block("body.0.conv", 70, 6),
    )
    (axes,) = cost([("RFDN", blocks)]).axes
    macs, activations, memory = ([bar.get_width() for bar in each] for each in axes.containers)
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "head", "body.0", "outside of blocks",
    ]  # fmt: skip
    assert macs == pytest.approx([20, 70, 10])
    assert activations == pytest.approx([10, 60, 30])
    assert memory == [0, 0, 0]
    assert len({each[0].get_hatch() for each in axes.containers}) == 3, "told apart in grey"


def test_many_blocks_are_drawn_as_the_largest_and_the_rest():
    blocks = [block("(network)", 465), *(block(f"b{i}", i) for i in range(31))]
    (axes,) = cost([("x" * 300, blocks)]).axes
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == [*(f"b{i}" for i in range(17, 31)), "17 smaller ones"]
    assert axes.get_title() == "x" * 27 + "\N{HORIZONTAL ELLIPSIS}"


def test_another_format_is_refused_with_those_that_there_are(published, tmp_path):
    with pytest.raises(UsageError, match=r"expected a name that ends in \.pdf, \.svg"):
        save(pareto(published), tmp_path / "a.docx")
    with pytest.raises(UsageError, match="cannot be written"):
        save(pareto(published), tmp_path / "missing" / "a.png")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ablation", "aidn"], "needs the names of a parent and of its variants"),
        (["cost", "rfdn"], "no run tells what its blocks cost"),
        (["cost", "aidn"], "no run of aidn on demo x4"),
        (["pareto", "--x", "speed"], "there is no column"),
        (["pareto", "--data", "nowhere"], "nowhere"),
    ],
)
def test_what_no_chart_can_show_says_why(arguments, said, stored):
    command = ["figure", *arguments, "--results", str(stored[0].folder)]
    with pytest.raises(UsageError, match=said):
        CliRunner().invoke(app, command, catch_exceptions=False, standalone_mode=False)
