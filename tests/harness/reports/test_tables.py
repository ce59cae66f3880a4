from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from harness.ranking.leaderboard import build_leaderboard
from harness.ranking.rules import NTIRE2022
from harness.records import Interval, Value
from harness.reports import tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.ranking.leaderboard import Leaderboard
    from harness.records import RunRecord


@pytest.fixture
def board(make_record: Callable[..., RunRecord]) -> Leaderboard:
    arfdn = {
        "psnr_rgb": 29.0,
        "runtime_images": 0.04775,
        "params": 241_548,
        "macs_ntire2022": 14_506_603_360,
        "activations_ntire2022": 151_355_840,
        "peak_bytes": "GPU memory is not measured on CPU",
        "conv_calls_ntire2022": 100,
    }
    imdn = {**arfdn, "params": 893_936, "runtime_images": 0.05086, "psnr_rgb": "random_weights"}
    return build_leaderboard(
        [
            make_record("aidn-challenge", arfdn),
            make_record("imdn-challenge", imdn),
            make_record("bicubic", arfdn, role="floor"),
        ],
        NTIRE2022,
    )


def rendered(board: Leaderboard) -> str:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(tables.leaderboard_terminal(board))
    return console.export_text()


def test_terminal_shows_values_with_rank_subscripts(board: Leaderboard) -> None:
    text = rendered(board)
    assert "0.242₁" in text
    assert "0.894₂" in text
    assert "47.75₁" in text
    assert "14.51₁" in text
    assert "No gate is claimed" in text
    assert "bicubic is not ranked: interpolation, shown as the floor." in text


def test_absent_figures_are_dashes_not_zeros(board: Leaderboard) -> None:
    cells = tables.leaderboard_frame(board, str)
    assert list(cells["GPU Mem. [MiB]"]) == [tables.MISSING] * 3
    assert list(cells["PSNR [dB]"]) == ["29.00", tables.MISSING, "29.00"]


def test_markdown_is_a_github_table_with_subscripts_and_notes(board: Leaderboard) -> None:
    text = tables.leaderboard_markdown(board)
    assert "| aidn-challenge" in text
    assert "0.242<sub>1</sub>" in text
    assert "- bicubic is not ranked: interpolation, shown as the floor." in text
    assert "- Sub-track 2 (overall) is not ranked." in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_csv_keeps_full_precision_and_leaves_absent_cells_empty(board: Leaderboard) -> None:
    rows = list(csv.DictReader(io.StringIO(tables.leaderboard_csv(board))))
    assert [row["entry"] for row in rows] == ["aidn-challenge", "imdn-challenge", "bicubic"]
    assert rows[0]["macs_ntire2022"] == "14506603360"
    assert rows[0]["runtime_images"] == "0.04775"
    assert rows[0]["main_rank"] == "1"
    assert rows[0]["params_rank"] == "1"
    assert rows[0]["peak_bytes"] == ""
    assert rows[1]["psnr_rgb"] == ""
    assert rows[2]["main_rank"] == ""
    assert rows[2]["unranked_because"] == "interpolation, shown as the floor"


def test_markup_in_names_is_shown_not_obeyed(make_record: Callable[..., RunRecord]) -> None:
    record = make_record("a", {"params": "see [bold]this[/bold]"}, status="ok")
    text = rendered(build_leaderboard([record], NTIRE2022))
    assert "[bold]this[/bold]" in text


def test_intervals_have_three_digits() -> None:
    value = Value(
        value=0.0477512,
        interval=Interval(low=0.0471, high=1.23456, confidence=0.95, method="bootstrap"),
    )
    assert tables.figure("runtime_images", value, 2, str) == "47.752 [47.1, 1235]"
    exact = Value(
        value=0.0, interval=Interval(low=0.0, high=0.00001, confidence=0.95, method="bootstrap")
    )
    assert tables.figure("runtime_images", exact, None, str) == "0.00 [0, 0.0100]"
