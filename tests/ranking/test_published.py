import csv
import math
from functools import cache

import pytest

from esrbench.errors import DataError, UsageError
from esrbench.ranking.published import (
    official_folder,
    official_leaderboard,
    official_names,
    printed,
    read_official,
)
from esrbench.ranking.rules import RULES

# Rank column of the transcription, and the metric it is.
RANKS = {
    "time_rank": "runtime_images",
    "params_rank": "params",
    "flops_rank": "macs_ntire2022",
    "acts_rank": "activations_ntire2022",
    "mem_rank": "pass_peak_bytes",
}


@cache
def board_of_2026():
    """Its ranks are resampled a thousand times."""
    return official_leaderboard(RULES["ntire2026"])


def transcribed(shared, name):
    with (shared / "facts" / name).open() as file:
        return {row["team"]: row for row in csv.DictReader(file)}


def ranked(board):
    return {row.entry: row for row in board.ranked}


TRACKS = {
    "ntire2022": {"sub1": "sub1", "sub2": "sub2"},
    "ntire2023": {"complexity": "modelcomp", "overall": "overall"},
}


@pytest.mark.parametrize(
    ("name", "count", "disagreeing"),
    [
        ("ntire2022", 35, {"Alpan Team": ("Sub-track 1 (model complexity) rank 9, printed 10",)}),
        ("ntire2023", 32, {}),
    ],
)
def test_ranks_and_sums_agree_but_for_the_one_printed_tie(shared, name, count, disagreeing):
    published = transcribed(shared, f"{name}.csv")
    rows = ranked(official_leaderboard(RULES[name]))
    assert set(rows) == {team for team, row in published.items() if row["status"] == "ranked"}
    assert len(rows) == count
    for team, row in rows.items():
        said = published[team]
        assert {metric: int(said[column]) for column, metric in RANKS.items()} == row.ranks
        if name == "ntire2022":
            assert row.places["main"].rank == int(said["main_track_rank"])
        for track, column in TRACKS[name].items():
            assert row.places[track].rank_sum == int(said[f"{column}_rank_sum"])
            agrees = row.places[track].rank == int(said[f"{column}_rank"])
            assert agrees is not (track == "sub1" and team in disagreeing)
    assert {team: row.disagreements for team, row in rows.items() if row.disagreements} == (
        disagreeing
    )


def test_2023_separates_equal_sums():
    rows = ranked(official_leaderboard(RULES["ntire2023"]))
    # Two teams of equal sums are not shared: 70 and 70 are printed 11th and 12th.
    assert rows["TelunXupt"].places["overall"].rank == 11
    assert rows["NJUST_M"].places["overall"].rank == 12


def test_2022_names_its_disagreement_in_the_notes():
    board = official_leaderboard(RULES["ntire2022"])
    assert board.notes[0] == (
        "DISAGREES Alpan Team: Sub-track 1 (model complexity) rank 9, printed 10."
    )
    assert "280 ranks, 70 sums, all but 1 agree" in board.notes[1]
    below = [row for row in board.ranked if row.gates[0].margin < 0]
    assert len(below) == 6
    assert len(board.unranked) == 10


def test_real_time_scores_agree_within_the_rounding_of_their_inputs(shared):
    published = transcribed(shared, "rtsr2023_track1.csv")
    board = official_leaderboard(RULES["rtsr2023"])
    assert len(board.ranked) == 23
    difference = {
        row.entry: row.places["main"].score - float(published[row.entry]["score"])
        for row in (*board.ranked, *board.unranked)
        if row.places
    }
    assert "Our Baseline" in difference
    assert max(map(abs, difference.values())) == pytest.approx(0.14, abs=0.005)
    assert not any(row.disagreements for row in (*board.ranked, *board.unranked))


def test_a_score_beyond_rounding_is_marked(tmp_path):
    text = (official_folder() / "rtsr2023.csv").read_text(encoding="utf-8")
    (tmp_path / "rtsr2023.csv").write_text(text.replace(",23.81,", ",23.91,"), encoding="utf-8")
    board = official_leaderboard(RULES["rtsr2023"], tmp_path)
    # 34.63 -+ 0.005 and 33.92 -+ 0.005 dB, 1.910 -+ 0.0005 ms: 23.51 to 23.84.
    (row,) = [row for row in board.ranked if row.disagreements]
    assert row.disagreements == ("Score 23.51 to 23.84, printed 23.91",)


# 0.8 exp(2 t/7.74) + 0.1 exp(2 F/9.83) + 0.1 exp(2 P/0.151), worked out to 40 digits.
BY_HAND = {
    "22_SPANV2_ESR_C2": 3.8689326604133936,
    "01_PDS": 5.829485672387495,
    "06_HAESR": 3660268903.572876,
}


def test_2026_scores_are_those_worked_out_by_hand():
    rows = ranked(board_of_2026())
    for entry, value in BY_HAND.items():
        assert rows[entry].places["main"].score == pytest.approx(value, rel=1e-7)
        assert rows[entry].places["main"].log_score == pytest.approx(math.log(value), rel=1e-7)


def test_2026_baseline_scores_less_than_e_squared_unrounded():
    board = board_of_2026()
    (baseline,) = [row for row in board.unranked if row.entry == "00_SPAN"]
    assert baseline.places["main"].score == pytest.approx(7.381, abs=5e-4)
    assert baseline.places["main"].rank is None


def test_2026_eligibility_depends_on_rounding():
    board = board_of_2026()
    assert len(board.ranked) == 13
    by_rounding = {
        row.entry for row in board.ranked if any(g.rounded and not g.strict for g in row.gates)
    }
    passing = {"01_PDS", "04_ZenoSR", "11_VSCINet", "17_AMCANet", "15_DSCF_Fused"}
    assert by_rounding == passing
    assert any(note.startswith("5 of 13 eligible entries pass by") for note in board.notes)
    reasons = {row.entry: row.unranked_because for row in board.unranked}
    assert set(reasons) == {"00_SPAN", "009_RFDN_SPAN", "21_SAFMN"}
    assert reasons["009_RFDN_SPAN"] == "26.9821 dB on DIV2K_LSDIR test is below 26.99 dB"


@pytest.mark.parametrize("name", ["ntire2024", "ntire2025"])
def test_a_lone_baseline_is_shown_with_its_score(name):
    board = official_leaderboard(RULES[name])
    assert board.ranked == ()
    assert board.unranked[0].places["main"].score == pytest.approx(math.e**2)


def test_every_edition_s_printed_figures_are_those_transcribed(shared):
    assert official_names() == (*(f"ntire{year}" for year in range(2022, 2027)), "rtsr2023")
    for name in ("ntire2022", "ntire2023"):
        entries = {entry.name: entry for entry in read_official(RULES[name])}
        for team, row in transcribed(shared, f"{name}.csv").items():
            figures = entries[team].figures
            assert figures["params"].value == pytest.approx(float(row["params_M"]) * 1e6)
            assert figures["runtime_images"].value == pytest.approx(float(row["ave_time_ms"]) / 1e3)
            assert figures["pass_peak_bytes"].value == pytest.approx(
                float(row["gpu_mem_M"]) * 2**20
            )
            assert entries[team].psnr == {
                "psnr_valid": float(row["psnr_val"]),
                "psnr_test": float(row["psnr_test"]),
            }


def test_printed_figures_keep_their_last_digit():
    figure = printed("14.50", 1e9)
    assert (figure.value, figure.step) == (14.5e9, 1e7)


def test_an_edition_without_a_table_says_which_have_one():
    with pytest.raises(UsageError, match="no published table of aim2020") as caught:
        official_leaderboard(RULES["aim2020"])
    assert "ntire2022, ntire2023" in caught.value.advice


def test_a_folder_without_tables_is_named_with_what_restores_it(tmp_path):
    missing = tmp_path / "official"
    with pytest.raises(DataError) as caught:
        official_leaderboard(RULES["ntire2022"], missing)
    assert str(caught.value).startswith(f"{missing}: ")
    assert "git checkout -- results/official" in caught.value.advice


def test_a_damaged_table_names_its_lines(tmp_path):
    text = (official_folder() / "ntire2022.csv").read_text(encoding="utf-8")
    broken = text.replace("27.11", "fast").replace("\nNEESR,ranked", "\nByteESR,won")
    (tmp_path / "ntire2022.csv").write_text(broken, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        official_leaderboard(RULES["ntire2022"], tmp_path)
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["line 2", "line 4"]


def test_2026_ranks_are_as_firm_as_the_logged_times_of_the_images_allow():
    board = board_of_2026()
    assert board.stability is None
    held = {row.entry: row.places["main"].stability for row in board.ranked}
    # 5.24 ms and few FLOPs: ahead by far. 6.51 to 6.80 ms: a draw of other images may swap them.
    assert (held["22_SPANV2_ESR_C2"].low, held["22_SPANV2_ESR_C2"].high) == (1, 1)
    assert held["22_SPANV2_ESR_C2"].held == 1.0
    for row in board.ranked:
        assert held[row.entry].low <= row.places["main"].rank <= held[row.entry].high
    assert not any("not known" in note for note in board.notes)


def test_2026_marks_cold_starts_as_its_log_shows_them(shared):
    with (shared / "facts" / "ntire2026_first_image.csv").open() as file:
        said = {row["entry"]: row for row in csv.DictReader(file)}
    slow = {name for name, row in said.items() if float(row["valid_first_ms"]) > 100}
    board = board_of_2026()
    marked = {r.entry: r.cold_start for r in (*board.ranked, *board.unranked) if r.cold_start}
    assert len(slow) == 11
    assert marked.keys() == slow
    for name, seconds in marked.items():
        assert 1e3 * seconds == pytest.approx(float(said[name]["valid_first_ms"]))
    (note,) = [note for note in board.notes if note.startswith("* ")]
    assert "took 102 to 348 ms for 11 of 16 entries" in note


def test_2026_without_first_images_two_entries_change_places():
    (note,) = [each for each in board_of_2026().notes if each.startswith("Without the first image")]
    assert "15_DSCF_Fused is ahead of 00_SPAN in runtime" in note


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("7.2026 ", "fast ", "line 2: ValueError"),
        ("7.2026 ", "7.2026 1.0 ", "entries differ in their splits or numbers of images"),
        (
            "7.2026 ",
            "72.026 ",
            "00_SPAN: the mean of its times is 7.898 ms, published is 7.736 ms",
        ),
        ("21_SAFMN,valid", "22_SAFMN,valid", "entries differ in their splits or numbers of images"),
    ],
)
def test_damaged_times_are_refused(tmp_path, old, new, problem):
    for name in ("ntire2026.csv", "times/ntire2026.csv"):
        text = (official_folder() / name).read_text(encoding="utf-8")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match="the published times are damaged") as caught:
        official_leaderboard(RULES["ntire2026"], tmp_path)
    assert any(problem in each for each in caught.value.problems)
