"""Records as a notebook shows them."""

from html.parser import HTMLParser

import pytest
from builders import race, samples, value

import esrbench
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import (
    Absent,
    Complexity,
    CounterResult,
    ImageScore,
    Notice,
    Quality,
)
from esrbench.reports.notebook import table_of

HOSTILE = "</td><script>alert(1)</script>\u202e"
ABSENT = Absent(kind="skipped", reason="not here")
COMPLEXITY = Complexity(
    params=1_344,
    trainable_params=1_344,
    weight_params=1_296,
    buffer_elements=0,
    state_bytes=5_376,
    counters={
        "ntire2022": CounterResult(
            counter="ntire2022",
            version="1",
            convention="c",
            input_shape=(1, 3, 8, 8),
            macs=84_934_656,
            activations=3_145_728,
            conv_calls=1,
        )
    },
    audit=ABSENT,
    predicted_memory=ABSENT,
)
QUALITY = Quality(
    definition="d",
    images=(
        ImageScore(image="a", psnr_rgb=30.0, psnr_y=31.0, ssim_y=0.9),
        ImageScore(image="b", psnr_rgb=None, psnr_y=32.0, ssim_y=0.8),
    ),
)


class Rows(HTMLParser):
    """The texts of each row of the tables, and all tags."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        del attrs
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip()


def rows(record):
    return Rows(record._repr_html_()).rows


def test_a_run_shows_its_metrics_and_why_some_are_missing(make_record):
    runtime = value(0.04775, 0.047, 0.048)
    record = make_record("rfdn", {"psnr_rgb": 29.0, "runtime_images": runtime, "params": "no net"})
    shown = {row[0]: row[1:] for row in rows(record)}
    assert shown["PSNR [dB]"] == ["29.00", "", ""]
    assert shown["Runtime [ms]"] == ["47.75", "[47.00, 48.00]", ""]
    assert shown["Params [M]"] == ["\N{EN DASH}", "", "no net"]
    frame = record.to_dataframe().set_index("metric")
    assert frame.loc["runtime_images"].tolist() == [0.04775, 0.047, 0.048, None]
    assert frame.loc["params", "absent"] == "no net"
    assert repr(record) == (
        f"RunRecord(entry='rfdn', scale=4, data='demo', status='ok', run_id='{record.run_id}')"
    )


def test_a_failed_run_says_what_happened_and_what_to_do(make_record):
    record = make_record("net", status="oom", cause="no memory", advice="Use a larger machine.")
    assert "oom: no memory. Use a larger machine." in record._repr_html_()


def test_counts_keep_their_units_in_html_and_are_plain_in_frames():
    shown = {row[0]: row[1] for row in rows(COMPLEXITY)}
    assert shown["Params [M]"] == "0.001"
    assert shown["FLOPs [G]"] == "0.08"
    assert "PSNR [dB]" not in shown
    frame = COMPLEXITY.to_dataframe().set_index("metric")
    assert frame.loc["macs_ntire2022", "value"] == 84_934_656
    assert frame.loc["macs_fvcore", "absent"] == "the protocol leaves this counter out"
    assert repr(COMPLEXITY) == "Complexity(params=1344, macs_ntire2022=84934656)"


def test_scores_have_a_row_an_image_and_a_mean():
    assert [row[:2] for row in rows(QUALITY)] == [
        ["image", "PSNR [dB]"],
        ["a", "30.00"],
        ["b", "\N{INFINITY}"],
        ["mean", "\N{EN DASH}"],
    ]
    assert QUALITY.to_dataframe()["psnr_y"].tolist() == [31.0, 32.0]
    assert QUALITY.mean == ImageScore(
        image="mean", psnr_rgb=None, psnr_y=31.5, ssim_y=(0.9 + 0.8) / 2
    )
    assert repr(QUALITY).startswith("Quality(images=2, mean=ImageScore(image='mean', psnr_rgb=None")


def test_times_show_their_median_and_keep_every_round():
    timed = samples(seconds=(0.3, 0.1, 0.2))
    assert rows(timed)[1] == ["200.00", "[100.00, 300.00] at 75.0%", "3", "1"]
    assert timed.to_dataframe()["seconds"].tolist() == [0.3, 0.1, 0.2]
    assert repr(timed) == "LatencySamples(lr_size=(8, 8), rounds=3, median_seconds=0.2)"


def test_a_race_shows_both_ratios():
    record = race(1.05)
    assert [row[0] for row in rows(record)[1:]] == ["net / reference", "reference / its copy"]
    assert "Slower: net is 5.0% slower than reference" in record._repr_html_()
    frame = record.to_dataframe()
    assert frame["runtime_ratio"].tolist() == pytest.approx([1.05, 1.0], abs=1e-3)
    assert frame["pairs"].tolist() == [90, 45]
    assert repr(race(1.05, set_aside="busy")).startswith(
        "RaceRecord(candidate='net', baseline='reference', verdict='inconclusive'"
    )
    assert race(1.05, set_aside="busy").to_dataframe()["runtime_ratio"].tolist() == [None, None]


def test_leaderboards_and_comparisons_are_the_tables_that_commands_print(make_record):
    values = {"psnr_rgb": 29.0, "psnr_y": 30.0, "ssim_y": 0.9, "params": 241_548}
    values |= {"macs_ntire2022": 14e9, "runtime_images": 0.1, "activations_ntire2022": 1e8}
    record = make_record("rfdn", values | {"pass_peak_bytes": 1e8, "conv_calls_ntire2022": 64})
    board = build_leaderboard([record], RULES["ntire2022"])
    assert board.to_dataframe()["params"].tolist() == [241_548]
    assert any("rfdn" in row[0] for row in rows(board))
    assert "ranked=('rfdn',), unranked=0" in repr(board)
    comparison = esrbench.compare([record])
    assert comparison.to_dataframe()["psnr_y"].tolist() == [30.0]
    assert repr(comparison).startswith("Comparison(title='Comparison on demo")
    assert repr(comparison).endswith(", entries=('rfdn',))")
    assert "30.00" in comparison._repr_html_()


def test_words_of_an_entry_are_text(make_record):
    notice = Notice(code="x", message=HOSTILE, advice=HOSTILE)
    record = make_record("net", {"params": HOSTILE}, status="crash", cause=HOSTILE)
    record = record.model_copy(update={"notices": (notice,)})
    shown = record._repr_html_()
    assert "script" not in Rows(shown).tags
    assert "\u202e" not in shown + repr(record)


def test_what_is_no_record_has_no_table():
    with pytest.raises(TypeError, match="int has no table"):
        table_of(1)


def test_bad_input_to_compare():
    with pytest.raises(esrbench.UsageError, match="no figure for this table: there are no runs"):
        esrbench.compare([], data=["demo"])
    with pytest.raises(esrbench.UsageError, match="there is no column 'psnr'"):
        esrbench.compare([], columns=["psnr"])
