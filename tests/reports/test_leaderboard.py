import math
from dataclasses import replace

import pytest
from builders import csv_rows, shown, value

from esrbench.metrics import MIB
from esrbench.ranking.board import LeaderboardEntry
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.rules import RULES, parse_rule
from esrbench.ranking.stability import Stability
from esrbench.reports.leaderboard import leaderboard_table, metric_cell
from esrbench.reports.table import MISSING


@pytest.fixture
def board(make_record):
    arfdn = {
        "psnr_rgb": 29.0,
        "runtime_images": 0.04775,
        "params": 241_548,
        "macs_ntire2022": 14_506_603_360,
        "activations_ntire2022": 151_355_840,
        "pass_peak_bytes": "GPU memory is not measured on CPU",
        "conv_calls_ntire2022": 100,
    }
    imdn = {**arfdn, "params": 893_936, "runtime_images": 0.05086, "psnr_rgb": "random_weights"}
    return board_of(
        make_record("aidn-challenge", arfdn),
        make_record("imdn-challenge", imdn),
        make_record("bicubic", arfdn, role="floor"),
    )


def board_of(*records, rule="ntire2022"):
    return build_leaderboard(records, RULES[rule])


def rendered(board, form="terminal", **options):
    return shown(leaderboard_table(board), form, **options)


def fields(board):
    return csv_rows(leaderboard_table(board))


def test_terminal_shows_values_with_rank_subscripts(board):
    text = rendered(board)
    assert "0.242₁" in text
    assert "0.894₂" in text
    # Nothing is known of its processes.
    assert "47.75₁?" in text
    assert "14.51₁" in text
    assert "No gate is claimed" in text
    assert "bicubic is not ranked: interpolation baseline, shown beside the ranking." in text


def test_absent_figures_are_dashes_not_zeros(board, columns):
    cells = columns(board)
    assert cells["GPU Mem. [MiB]"] == [MISSING] * 3
    assert cells["PSNR [dB]"] == ["29.00", MISSING, "29.00"]


def test_markdown_is_a_github_table_with_subscripts_and_notes(board):
    text = rendered(board, "markdown")
    assert "| aidn-challenge" in text
    assert "0.242<sub>1</sub>" in text
    assert "- bicubic is not ranked: interpolation baseline, shown beside the ranking." in text
    assert "- Sub-track 2 (overall) is not ranked." in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_latex_and_html_have_ranks_below_the_line_and_remarks(board):
    latex, page = rendered(board, "latex"), rendered(board, "html")
    assert r"0.242\textsubscript{1}" in latex
    assert r"\label{tab:leaderboard}" in latex
    assert "0.242<sub>1</sub>" in page
    for text in (latex, page):
        assert board.title in text
        assert "bicubic is not ranked: interpolation baseline, shown beside the ranking." in text


def test_csv_keeps_full_precision_and_leaves_absent_cells_empty(board):
    rows = fields(board)
    assert [row["entry"] for row in rows] == ["aidn-challenge", "imdn-challenge", "bicubic"]
    assert rows[0]["macs_ntire2022"] == "14506603360"
    assert rows[0]["runtime_images"] == "0.04775"
    assert rows[0]["main_rank"] == "1"
    assert rows[0]["params_rank"] == "1"
    assert rows[0]["pass_peak_bytes"] == ""
    assert rows[1]["psnr_rgb"] == ""
    assert rows[2]["main_rank"] == ""
    assert rows[2]["unranked_because"] == "interpolation baseline, shown beside the ranking"


def test_markup_in_names_is_shown_not_obeyed(make_record):
    text = rendered(board_of(make_record("a", {"params": "see [bold]this[/bold]"})))
    assert "[bold]this[/bold]" in text


def test_markdown_shows_the_text_of_strangers_as_it_is(make_record):
    cause = "<img src=x> [link](http://a.b) | `x` @all"
    broken = make_record("net_*a*", {}, status="crash", cause=cause)
    text = rendered(board_of(broken), "markdown")
    assert "<img" not in text
    assert r"&lt;img src=x&gt; \[link\](http:<!-- -->//a.b) \| \`x\` @<!-- -->all" in text
    (row,) = [each for each in text.splitlines() if each.startswith("| net")]
    assert row.startswith(r"| net\_\*a\* ")


def test_a_kind_of_failure_is_told_once(make_record):
    """The cause of a failure begins by its kind, which is the status that stands beside it."""
    for cause in ("crash: it ended", "it ended"):
        record = make_record("a", {}, status="crash", cause=cause)
        text = rendered(board_of(record))
        assert "a is not ranked: crash: it ended." in text


def test_brackets_beside_a_rank_are_explained(make_record):
    figures = {"params": 1e5, "macs_ntire2022": 1e9, "activations_ntire2022": 1e7}
    board = board_of(*(make_record(name, figures) for name in ("a", "b")))
    text = rendered(board, "markdown")
    assert "1 (2)" in text
    assert "Sub 1: the rank, and in brackets the sum of the ranks of its metrics." in text


def test_a_missing_score_is_explained(make_record):
    reason = "image z is reproduced without error: its PSNR is infinite"
    records = [
        make_record(name, {"psnr_rgb": reason}, status="ok", role="floor", weights="none")
        for name in ("a", "b")
    ]
    text = rendered(board_of(*records))
    assert f"PSNR of a, b is missing: {reason}." in text
    random = make_record("c", {"psnr_rgb": reason}, status="ok", role="floor", weights="random")
    assert "is missing" not in rendered(board_of(random))


def test_csv_holds_no_formulas(make_record):
    cause = '=HYPERLINK("http://127.0.0.1/")\n,next'
    broken = make_record("@a", {}, status="crash", cause=cause)
    board = board_of(broken)
    row = replace(board.unranked[0], unranked_because=cause)
    changed = board.model_copy(update={"unranked": (row,)})
    (found,) = fields(changed)
    assert found["entry"] == "'@a"
    assert found["unranked_because"] == '\'=HYPERLINK("http://127.0.0.1/") ,next'


@pytest.mark.parametrize(
    ("found", "ranks", "text"),
    [
        (value(0.0477512, 0.0471, 1.23456), {"runtime_images": 2}, "47.75₂ [47.1, 1235]"),
        (value(0.0, 0.0, 0.00001), {}, "0.00 [0, 0.0100]"),
    ],
)
def test_intervals_have_three_digits(found, ranks, text):
    values = {"runtime_images": found}
    row = LeaderboardEntry(
        entry="a", run_id=None, weights="", status="", values=values, ranks=ranks
    )
    assert str(metric_cell(row, "runtime_images")) == text


def test_scores_stand_beside_their_logarithms(make_record, columns):
    rlfn = {"runtime_images": 0.5, "params": 317_000, "macs_fvcore": 19.67e9}
    board = board_of(
        make_record("rlfn", rlfn),
        make_record("slow", {**rlfn, "runtime_images": 1000.0}),
        make_record("odd", {**rlfn, "runtime_images": 1.0}, status="timing-disputed"),
        rule="ntire2024",
    )
    frame = columns(board)
    assert frame["Entry"] == ["rlfn", "odd\N{DAGGER}", "slow"]
    assert frame["Main score"] == ["7.389", "40.435", "overflow"]
    assert frame["ln Main score"] == ["2.000", "3.700", "3999.643"]
    rows = fields(board)
    assert rows[2]["main_score"] == ""
    assert float(rows[2]["main_log_score"]) == pytest.approx(4000 + math.log(0.7))


def test_a_rank_within_noise_is_printed_as_a_tie(board, columns):
    held = Stability(low=1, high=2)
    row = board.ranked[0]
    place = replace(row.places["main"], stability=held, provisional=False)
    shaky = replace(row, places={**row.places, "main": place})
    changed = board.model_copy(update={"ranked": (shaky, *board.ranked[1:])})
    assert columns(changed)["Main"][0] == "1-2"
    rows = fields(changed)
    assert (rows[0]["main_rank_low"], rows[0]["main_rank_high"]) == ("1", "2")
    assert rows[0]["main_rank_provisional"] == "False"


def test_a_margin_stands_where_no_psnr_does_and_both_peaks_are_told_apart(make_record, columns):
    rule = parse_rule(
        """
        name = "memory"
        title = "Memory"
        source = "a test"
        ties = "shared"
        columns = ["params", "peak_bytes", "pass_peak_bytes"]
        [[gates]]
        title = "any images"
        metric = "psnr_y"
        minimum = 28.5
        [[tracks]]
        key = "main"
        label = "Main"
        title = "Main"
        formula = { kind = "rank-sum", metrics = ["peak_bytes"] }
        """,
        "rule.toml",
    )
    values = {"params": 1e6, "psnr_y": 28.5625, "peak_bytes": MIB, "pass_peak_bytes": 2 * MIB}
    frame = columns(build_leaderboard([make_record("a", values)], rule))
    assert frame == {
        "Entry": ["a"],
        "Main": ["1"],
        "Pareto": ["\N{BULLET}"],
        "Margin [dB]": ["+0.0625"],
        "Params [M]": ["1.000"],
        "GPU Mem. [MiB]": ["1.00₁"],
        "GPU Mem. of the whole pass [MiB]": ["2.00"],
    }


@pytest.mark.parametrize("width", [60, 80, 100])
def test_columns_that_do_not_fit_stand_in_a_table_below(width):
    lines = rendered(official_leaderboard(RULES["ntire2022"]), width=width).splitlines()
    assert max(map(len, lines)) <= width
    # No name and no figure is broken, and every part names its entries.
    named = [line for line in lines if line.startswith(" Virtual_Reality Team ")]
    assert len(named) > 1
    assert any("2387.93₃₅" in line for line in lines)


def test_the_banner_stands_in_front(board):
    weak = board.model_copy(update={"banner": "Weak sandbox."})
    assert rendered(weak).splitlines()[1] == "Weak sandbox."
    assert "**Weak sandbox.**" in rendered(weak, "markdown")
