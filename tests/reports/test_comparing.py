import csv
import json
import re
import shlex

import pytest
import typer
from builders import csv_rows, value

from esrbench.cli.run import run_command
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.protocol import EFFORTS, ForwardPolicy, LatencyDesign, Protocol
from esrbench.records import Interval
from esrbench.reports.comparing import build_comparison
from esrbench.reports.comparison import (
    CellValue,
    comparison_table,
    places,
)
from esrbench.reports.comparison_sources import Wanted, references
from esrbench.reports.formats import render
from esrbench.reports.run_commands import protocol_options


def compare(records, *entries, **wanted):
    return build_comparison(records, Wanted(entries=entries, **wanted), default_registry())


def line(table, entry, scale=4):
    (found,) = [each for each in table.lines if (each.entry, each.scale) == (entry, scale)]
    return found


def cell(table, entry, metric, data=None, scale=4):
    (index,) = [i for i, c in enumerate(table.columns) if (c.metric, c.data) == (metric, data)]
    return line(table, entry, scale).cells[index]


def place(table, entry, metric, data=None):
    return cell(table, entry, metric, data).place


def notes(table):
    return "\n".join(note.text for note in (*table.notes, *table.details))


def test_headings_leave_out_what_a_title_says_in_brackets(make_run):
    record = make_run("rfdn", {"psnr_y": 27.6}, data="demo", title="demo (4 photographs)")
    table = compare([record], columns=("psnr_y",))
    assert comparison_table(table).headings[1].group == "demo"
    assert "demo (4" in table.title


# The published digits ---------------------------------------------------------------------------

PRINTED = {
    ("imdn", 2, "set5"): "38.00/0.9605",
    ("imdn", 2, "set14"): "33.63/0.9177",
    ("imdn", 3, "set5"): "34.36/0.9270",
    ("imdn", 3, "set14"): "30.32/0.8417",
    ("imdn", 4, "set5"): "32.21/0.8948",
    ("imdn", 4, "set14"): "28.58/0.7811",
}
"""IMDN's published scores (its paper's benchmark table)."""


@pytest.fixture(scope="module")
def reference(shared, make_run):
    """Records that hold the scores which independent code gave released networks."""
    names = {"IMDN": "imdn", "bicubic": "bicubic", "rfdn": "rfdn"}
    records = []
    with (shared / "facts" / "reference_means.csv").open() as file:
        for row in csv.DictReader(file):
            name = names.get(row["model"].split("_")[0])
            titled = row["dataset"] in {"Set5", "Set14"}
            if name is None or not titled or row["lr_source"] != "matlab_mirror":
                continue
            records.append(
                make_run(
                    name,
                    {"psnr_y": float(row["psnr_y"]), "ssim_y": float(row["ssim_y"])},
                    scale=int(row["scale"]),
                    data=row["dataset"].lower(),
                    role="floor" if name == "bicubic" else "network",
                    weights="none" if name == "bicubic" else "released",
                )
            )
    assert len(records) == 14
    return records


def test_the_table_prints_the_published_digits(reference):
    table = compare(reference, "imdn", "rfdn", "bicubic")
    shown = {}
    for each in table.lines:
        for data in ("set5", "set14"):
            pair = [cell(table, each.entry, m, data, each.scale) for m in ("psnr_y", "ssim_y")]
            if all(isinstance(figure, CellValue) for figure in pair):
                shown[each.entry, each.scale, data] = "/".join(figure.shown for figure in pair)
    assert {key: shown[key] for key in PRINTED} == PRINTED
    assert shown["rfdn", 4, "set5"] == "32.16/0.8946"
    assert shown["bicubic", 4, "set5"] == "28.43/0.8111"
    text = render(comparison_table(table), "markdown")
    assert "**32.21**/**0.8948**" in text  # above RFDN's on Set5,
    assert "**28.65**/**0.7825**" in text  # below them on Set14
    assert "<ins>28.58</ins>/<ins>0.7811</ins>" in text


def test_rows_go_by_scale_then_as_named_with_the_floor_first(reference):
    table = compare(reference, "rfdn", "imdn", "bicubic", scales=(4, 2))
    assert [(each.scale, each.entry) for each in table.lines] == [
        *((4, name) for name in ("bicubic", "rfdn", "imdn")),
        *((2, name) for name in ("bicubic", "rfdn", "imdn")),
    ]
    assert all(
        figure.place is None
        for each in table.lines
        if each.entry == "bicubic"
        for figure in each.cells
        if isinstance(figure, CellValue)
    )


def test_every_form_is_deterministic_and_ignores_the_order_of_records(reference):
    def forms(records):
        table = compare(records, published=True, data=("set5", "urban100"))
        grid = comparison_table(table)
        document = json.dumps(table.model_dump(mode="json"))
        rendered = [render(grid, "markdown"), render(grid, "latex"), render(grid, "html")]
        return [*rendered, render(comparison_table(table), "csv"), document]

    assert forms(reference) == forms(reference[::-1])


# Names ------------------------------------------------------------------------------------------


def test_entries_of_one_display_name_have_both_names(make_run):
    records = [make_run(name, {"psnr_y": 30.0}) for name in ("rfdn", "rfdn-paper", "imdn", "mine")]
    shown = {each.entry: each.display_name for each in compare(records).lines}
    assert shown == {
        "rfdn": "RFDN (rfdn)",
        "rfdn-paper": "RFDN (rfdn-paper)",
        "imdn": "IMDN",
        "mine": "mine",
    }
    (alone,) = compare(records, "rfdn").lines
    assert (alone.display_name, alone.citation, alone.year) == ("RFDN", "liu2020rfdn", 2020)
    rows = {row["entry"]: row for row in csv_rows(comparison_table(compare(records)))}
    row = rows["imdn"]
    assert (row["display_name"], row["citation"], row["year"]) == ("IMDN", "hui2019imdn", "2019")


def test_the_shipped_references_are_those_of_the_built_in_networks():
    text = references()
    entries = {
        key: re.sub(r"[{}\s]+", " ", body).lower()
        for key, body in re.findall(r"^@\w+\{(\w+),(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    }
    papers = {model.paper.key: model.paper for model in default_registry() if model.paper}
    assert entries.keys() == papers.keys()
    for key, paper in papers.items():
        assert f"year = {paper.year} " in entries[key]
        assert paper.title.lower() in re.sub(" :", ":", entries[key])
        assert "author = " in entries[key]


# What is missing --------------------------------------------------------------------------------


def test_what_was_not_run_is_missing_with_a_reason_and_a_command(make_run):
    scores = {"psnr_y": 32.0, "ssim_y": 0.89, "params": 1000.0}
    records = [
        make_run("imdn", scores, weights="released"),
        make_run("imdn", scores, data="set14", weights="released"),
        make_run("rfdn", scores, weights="random"),
    ]
    table = compare(records, "imdn", "rfdn", data=("set5", "set14", "bsd100"), scales=(4,))
    assert cell(table, "rfdn", "psnr_y", "set14").reason == "not run"
    assert "– not run: IMDN (x4) on BSD100; RFDN (x4) on Set14, BSD100." in notes(table)  # noqa: RUF001
    assert table.commands == (
        "esrbench run imdn --data bsd100=FOLDER --scale 4 --effort standard",
        (
            "esrbench run rfdn --data set14 --data bsd100=FOLDER --scale 4 --effort standard "
            "--weights rfdn=random"
        ),
    )
    assert " – |" in render(comparison_table(table), "markdown")  # noqa: RUF001


def test_commands_leave_out_weights_that_an_entry_brings_and_ask_for_others(make_run):
    def run(name, source, filename):
        record = make_run(name, {"psnr_y": 32.0}, weights=source)
        weights = record.entry.weights.model_copy(update={"filename": filename})
        entry = record.entry.model_copy(update={"weights": weights})
        return record.model_copy(update={"entry": entry})

    runs = [
        run("imdn", "submitted", "imdn_x4.safetensors"),
        run("rfdn", "file", "mine.safetensors"),
    ]
    table = compare(runs, "imdn", "rfdn", data=("set5", "set14"), scales=(4,))
    assert table.commands == (
        (
            "esrbench run imdn rfdn --data set14 --scale 4 --effort standard "
            "--weights rfdn=FOLDER/mine.safetensors"
        ),
    )


def test_published_scores_of_another_network_of_the_publication_are_pointed_out():
    wanted = {"data": ("set5",), "scales": (4,), "published": True}
    table = compare([], "carn", "rfdn", "imdn", **wanted)
    assert [(each.code, each.message) for each in table.notices] == [
        (
            "published-elsewhere",
            "carn has no scores here; those of its publication belong to carn-multi",
        ),
        (
            "published-elsewhere",
            "rfdn has no scores here; those of its publication belong to rfdn-paper",
        ),
    ]
    assert table.notices[0].advice == "To show them, write carn-multi instead of carn."
    assert not compare([], "carn-multi", "rfdn-paper", **wanted).notices
    unpublished = compare([], "carn", "rfdn", "imdn", columns=("params",), **wanted)
    assert not unpublished.notices


def test_a_metric_without_a_value_says_why(make_run):
    records = [make_run("aidn", {"psnr_y": "random weights", "params": 5.0}, weights="random")]
    table = compare(records, columns=("params", "psnr_y"))
    assert cell(table, "aidn", "psnr_y", "set5").reason == "random weights"
    assert "– random weights: AIDN (x4) on Set5." in notes(table)  # noqa: RUF001


def test_failed_and_suspect_runs_show_no_figure(make_run):
    failed = make_run("rfdn", {"psnr_y": 40.0}, status="suspect-memorising", cause="too good")
    table = compare([make_run("imdn", {"psnr_y": 32.0}), failed], columns=("psnr_y",))
    assert [each.entry for each in table.lines] == ["imdn"]
    table = compare([make_run("imdn", {"psnr_y": 32.0}), failed], "imdn", "rfdn")
    assert cell(table, "rfdn", "psnr_y", "set5").reason == "suspect-memorising: too good"
    assert place(table, "imdn", "psnr_y", "set5") is None


def test_nothing_at_all_is_an_error_that_gives_the_commands():
    with pytest.raises(UsageError) as raised:
        compare([], "imdn", "rfdn", data=("set5", "set14"), scales=(2, 4))
    assert raised.value.advice.splitlines()[1:] == [
        "esrbench run imdn rfdn --data set5 --data set14 --scale 2",
        "esrbench run imdn rfdn --data set5 --data set14 --scale 4",
    ]


def test_runs_without_a_figure_are_an_error_that_says_why(make_run):
    with pytest.raises(UsageError, match="random weights"):
        compare([make_run("aidn", {"psnr_y": "random weights"})], "aidn", columns=("psnr_y",))


def test_entries_are_left_out_at_scales_that_they_are_not_defined_at(make_run):
    records = [make_run(name, {"psnr_y": 32.0}) for name in ("imdn", "imdn-challenge")]
    table = compare(records, "imdn", "imdn-challenge", scales=(2, 4))
    assert [(each.entry, each.scale) for each in table.lines] == [
        ("imdn", 2),
        ("imdn", 4),
        ("imdn-challenge", 4),
    ]
    assert "imdn-challenge is not defined at x2." in notes(table)
    assert table.commands == ("esrbench run imdn --data set5 --scale 2 --effort standard",)


@pytest.mark.parametrize(
    ("wanted", "advice"),
    [
        ({"columns": ("psnr_x",)}, "Did you mean psnr_y"),
        ({"data": ("set15",)}, "Did you mean set"),
        ({"entries": ("imdm",)}, "Did you mean imdn"),
    ],
)
def test_unknown_names_bring_suggestions(make_run, wanted, advice):
    with pytest.raises(UsageError) as raised:
        build_comparison([make_run("imdn", {})], Wanted(**wanted), default_registry())
    assert advice in raised.value.advice


def test_incomparable_runs_are_missing_with_a_command(make_run):
    other = make_run("rfdn", {"psnr_y": 32.5}, digest="1" * 64)
    table = compare([other, make_run("imdn", {"psnr_y": 32.0})], "imdn", "rfdn")
    assert cell(table, "rfdn", "psnr_y", "set5").reason == "no run that compares with the others"
    assert [notice.code for notice in table.notices] == ["incomparable"]
    assert table.commands == ("esrbench run rfdn --data set5 --scale 4 --effort standard",)


def test_flops_for_1280x720_stand_beside_those_of_the_challenge_where_they_are_known(make_run):
    counts = {"macs_ntire2022": 27_102_622_560, "psnr_y": 32.1}
    old, new = (
        make_run("rfdn", counts),
        make_run("rfdn", counts | {"macs_1280x720": 23_759_144_640}),
    )
    table = comparison_table(compare([new]))
    headings = [(each.group, each.text) for each in table.headings[2:4]]
    assert headings == [("", "FLOPs [G]"), ("1280x720", "FLOPs [G]")]
    assert [row["macs_1280x720"] for row in csv_rows(table)] == ["23759144640"]
    said = "Complexity at LR 3x256x256; FLOPs at 1280x720: of an SR image of that size, by the aten"
    assert said in render(table, "markdown")
    assert "1280" not in render(comparison_table(compare([old])), "markdown")


def test_noisy_figures_of_an_entry_come_from_one_data_set(make_run):
    records = [
        make_run("imdn", {"runtime_fixed": 0.02, "params": 1.0}),
        make_run("rfdn", {"runtime_fixed": 0.01, "params": 2.0}, data="set14"),
    ]
    table = compare(records, columns=("runtime_fixed", "params"))
    assert isinstance(cell(table, "imdn", "runtime_fixed"), CellValue)
    assert cell(table, "rfdn", "runtime_fixed").reason == "not run"
    assert place(table, "imdn", "params") == 1


def test_images_under_a_declared_name_without_proof_are_told(make_run):
    table = compare([make_run("imdn", {"psnr_y": 31.0}, verified=False)])
    assert "Images not proven to be the declared ones: Set5 x4." in notes(table)


# Published figures ------------------------------------------------------------------------------


def test_published_figures_are_marked_and_sourced_in_every_form(make_run):
    records = [
        make_run("imdn", {"psnr_y": 32.21, "ssim_y": 0.8948, "params": 715_176.0}),
        make_run("rfdn", {"psnr_y": 32.16, "ssim_y": 0.8946, "params": 433_448.0}),
    ]
    table = compare(records, "imdn", "rfdn", "rfdn-paper", published=True)
    assert line(table, "rfdn-paper").published
    assert not line(table, "imdn").published
    # RFDN's paper prints 32.24/0.8952 on Set5 x4.
    assert place(table, "rfdn-paper", "psnr_y", "set5") == 1
    assert place(table, "imdn", "psnr_y", "set5") == 2
    grid = comparison_table(table)
    assert "**32.24**/**0.8952**†" in render(grid, "markdown")
    assert r"\textbf{32.24}/\textbf{0.8952}$^{\dagger}$" in render(grid, "latex")
    assert '0.8952</strong><sup class="published">&#8224;</sup>' in render(grid, "html")
    assert "<ins>32.21</ins>/<ins>0.8948</ins> |" in render(grid, "markdown")
    assert (
        "RFDN paper (AIM workshop, ECCV 2020), table 3: PSNR-Y, SSIM-Y of RFDN (rfdn-paper)"
        in notes(table)
    )
    rows = csv_rows(comparison_table(table))
    assert [row["origin"] for row in rows] == ["measured", "measured", "published"]
    assert table.commands == ()


def test_published_figures_stay_away_unless_asked_for_and_from_what_was_run(make_run):
    records = [make_run("imdn", {"psnr_y": "failed", "params": 5.0})]
    wanted = {"data": ("set5",), "scales": (4,)}
    assert not any(each.published for each in compare(records, "imdn", "vdsr", **wanted).lines)
    table = compare(records, "imdn", "vdsr", published=True, **wanted)
    assert {each.entry: each.published for each in table.lines} == {"imdn": False, "vdsr": True}
    assert cell(table, "imdn", "psnr_y", "set5").reason == "failed"


def test_a_table_of_published_figures_alone_is_the_papers(make_run):
    table = compare([], "imdn", "vdsr", "bicubic", published=True)
    assert list(table.data) == ["set5", "set14", "bsd100", "urban100"]
    assert {each.scale for each in table.lines} == {2, 3, 4}
    assert table.lines[0].entry == "bicubic"
    assert make_run("imdn", {}).run_id not in render(comparison_table(table), "csv")


# Weights, forms ---------------------------------------------------------------------------------


def test_demonstration_and_random_weights_are_marked_and_told(make_run):
    records = [
        make_run("aidn", {"psnr_y": 30.0}, weights="demo"),
        make_run("span", {"params": 1.0}, weights="random"),
    ]
    table = compare(records)
    text = render(comparison_table(table), "markdown")
    assert r"AIDN \[2\]‡" in text
    assert r"SPAN \[1\]§" in text
    assert "- ‡ Demonstration weights of esrbench, not the authors': AIDN (x4)." in text
    assert "- § Random weights, so no scores: SPAN (x4)." in text


def test_without_names_entries_go_by_parameters(make_run):
    sizes = {"imdn": 715_176.0, "aidn": 339_498.0, "rfdn": 433_448.0}
    records = [make_run(name, {"params": size}) for name, size in sizes.items()]
    records.append(make_run("bicubic", {"params": 0.0}, role="floor"))
    table = compare(records, columns=("params",))
    assert [each.entry for each in table.lines] == ["bicubic", "aidn", "rfdn", "imdn"]


def test_published_entries_without_a_known_size_come_last():
    # The AIDN paper prints 13K for FSRCNN at x2 and 57K for SRCNN, and no RCAN at x2.
    table = compare([], published=True, scales=(2,), data=("set5",))
    names = [each.entry for each in table.lines]
    assert names[:3] == ["bicubic", "fsrcnn", "srcnn"]
    assert names.index("rcan") > names.index("drcn")


def test_csv_is_unrounded_in_base_units_a_row_a_data_set(make_run):
    values = {"params": 715_176.0, "psnr_y": 32.209601, "runtime_images": value(0.02, 0.01, 0.03)}
    record = make_run("imdn", values)
    columns = ("params", "psnr_y", "runtime_images")
    table = compare([record], columns=columns, data=("set5", "set14"))
    rows = csv_rows(comparison_table(table))
    assert [(row["scale"], row["entry"], row["data"]) for row in rows] == [
        ("4", "imdn", "set5"),
        ("4", "imdn", "set14"),
    ]
    assert [row["params"] for row in rows] == ["715176", "715176"]
    assert [row["psnr_y"] for row in rows] == ["32.209601", ""]
    assert rows[0]["runtime_images"] == "0.02"
    assert (rows[0]["runtime_images_low"], rows[0]["runtime_images_high"]) == ("0.01", "0.03")
    # Its processes are not recorded.
    assert rows[0]["runtime_images_provisional"] == "True"
    assert rows[1]["missing"] == "psnr_y: not run; runtime_images: not run"


def test_no_runtime_of_a_single_process_is_best(make_run):
    of_rounds = value(1.0, 0.9, 1.1, "bootstrap")
    rows = [make_run(name, {"runtime_images": v}) for name, v in (("a", of_rounds), ("b", 2))]
    table = compare(rows, columns=("runtime_images",))
    for name in "ab":
        figure = cell(table, name, "runtime_images", "set5")
        assert (figure.provisional, figure.place, figure.interval) == (True, None, None)
    assert any("No runtime is marked as best" in note.text for note in table.notes)


def test_psnr_and_ssim_share_a_column_and_other_metrics_group_by_data_set(make_run):
    record = make_run("imdn", {"psnr_y": 32.0, "ssim_y": 0.9, "psnr_rgb": 30.0, "params": 1e6})
    columns = ("psnr_rgb", "params", "psnr_y", "ssim_y", "runtime_images")
    grid = comparison_table(compare([record], columns=columns))
    assert [(each.group, each.text) for each in grid.headings] == [
        ("", "Method"),
        ("", "Params [M]"),
        ("Set5", "PSNR [dB]"),
        ("Set5", "PSNR/SSIM"),
        ("Set5", "Runtime [ms]"),
    ]
    assert grid.caption == "Comparison on Set5, ×4"  # noqa: RUF001 - instead of a column


OTHER = Protocol(
    device="cuda",
    forward=ForwardPolicy(
        precision="bf16", channels_last=True, backend="torch-compile", cudnn_benchmark=True
    ),
    threads=3,
    seed=5,
    counted_input=(64, 96),
    latency=LatencyDesign(
        warmup_rounds=4,
        min_rounds=2,
        max_rounds=9,
        target_half_width=0.05,
        budget_seconds=1.5,
        processes=5,
    ),
)
"""Differs from the default wherever an option can make it differ."""

PARSED = {
    "device": "cuda",
    "precision": "bf16",
    "channels_last": True,
    "backend": ["torch-compile"],
    "cudnn_benchmark": True,
    "threads": 3,
    "seed": 5,
    "input_size": "64x96",
    "warmup": 4,
    "min_rounds": 2,
    "rounds": 9,
    "half_width": 0.05,
    "budget": 1.5,
    "processes": 5,
    "latency": True,
}


def parsed(arguments):
    """What ``esrbench run`` understands, without running it."""
    app = typer.Typer(add_completion=False)
    app.command("run")(run_command)
    return dict(typer.main.get_command(app).make_context("run", arguments).params)


def test_options_say_the_effort_and_what_differs_from_it():
    assert protocol_options(Protocol()) == ["--effort", "standard"]
    quick = EFFORTS["quick"].model_copy(update={"processes": 2})
    options = protocol_options(Protocol(latency=quick))
    assert options == ["--effort", "quick", "--processes", "2"]


def test_options_are_those_that_run_reads_back():
    given = parsed(["imdn", *protocol_options(OTHER)])
    assert {key: given[key] for key in PARSED} == PARSED
    without = parsed(["imdn", *protocol_options(Protocol(latency=None))])
    assert without["runtime"] is False


@pytest.fixture
def commands(make_run):
    record = make_run(
        "imdn",
        {"psnr_y": 32.0},
        protocol=OTHER,
        verified=False,
        data="set14",
        entry={
            "weights": make_run("imdn", {}).entry.weights.model_copy(update={"filename": "a b"})
        },
    )
    wanted = Wanted(("imdn", "rfdn"), ("set5", "set14", "mine"), (4,))
    stored = make_run("rfdn", {"psnr_y": 1.0}, protocol=OTHER, data="mine", weights="released")
    return build_comparison([record, stored], wanted, default_registry()).commands


def test_commands_repeat_settings_weights_and_folders(commands):
    assert len(commands) == 2
    found = [parsed(shlex.split(command)[2:]) for command in commands]
    assert [each["names"] for each in found] == [["imdn"], ["rfdn"]]
    assert found[0]["data"] == ["set5", "FOLDER/mine"]
    assert found[0]["weights"] == ["imdn=FOLDER/a b"]
    assert found[1]["data"] == ["set5", "set14=FOLDER"]
    assert not found[1]["weights"]
    assert all(each["scale"] == 4 for each in found)
    assert all({key: each[key] for key in PARSED} == PARSED for each in found)


def figures(*values, digits=2, width=None):
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
def test_places_are_decided_by_what_is_shown(metric, values, expected):
    assert places(metric, figures(*values)) == expected


def test_noisy_figures_within_each_other_s_intervals_share_a_place():
    assert places("runtime_images", figures(1.0, 1.05, 1.3, 1.9, width=0.03)) == [1, 1, 2, None]
    assert places("runtime_images", figures(1.0, 1.05, 1.3, 1.9)) == [1, 2, None, None]


def test_images_without_a_network_have_scores_and_no_say_in_what_others_are_compared_by(make_run):
    quality = {"psnr_y": 32.0, "ssim_y": 0.9}
    counted = Protocol(counted_input=(64, 64))
    run = make_run("imdn", quality | {"macs_ntire2022": 7e9}, protocol=counted)
    images = make_run(
        "team07",
        quality | {"psnr_y": 33.0, "macs_ntire2022": "only SR images were given"},
        role="images",
        weights="none",
        protocol=Protocol(latency=None, counters=()),
    )
    table = compare([run, images], columns=("macs_ntire2022", "psnr_y"), data=("set5", "set14"))
    assert cell(table, "team07", "macs_ntire2022").reason == "only SR images were given"
    assert place(table, "team07", "psnr_y", "set5") == 1
    assert place(table, "imdn", "psnr_y", "set5") == 2
    assert "Complexity at LR 3x64x64." in notes(table)
    assert "scored without their network: team07 (x4)." in notes(table)
    (command,) = table.commands
    assert "imdn" in command
    assert "--input-size 64x64" in command
    assert "--no-runtime" not in command
