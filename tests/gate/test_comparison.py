import pytest

from esrbench.gate.comparison import compare
from esrbench.gate.figures import KNOWN, Scores, WeightsFigure, terms_of
from esrbench.protocol import Protocol
from esrbench.records import Absent


def judged(figures, terms, now, metrics=KNOWN):
    """Findings by metric."""
    found = list(compare(figures, None if figures is None else terms, now, metrics))
    assert len({each.metric for each in found}) == len(found)
    return {each.metric: each for each in found}


def test_equal_figures_are_unchanged(figures, terms, measured):
    found = judged(figures, terms, measured())

    assert {each.verdict for each in found.values()} == {"unchanged"}
    assert set(found) == {"weights", *figures.counts, "psnr_rgb", "psnr_y", "ssim_y"}


@pytest.mark.parametrize(
    ("metric", "value", "verdict"),
    [
        ("params", 1001, "regressed"),
        ("params", 999, "improved"),
        ("macs_aten", 50_001, "regressed"),
        ("predicted_peak_bytes", 4097, "regressed"),
        ("predicted_peak_bytes", 4095, "improved"),
    ],
)
def test_a_count_is_exact_in_both_directions(figures, terms, measured, metric, value, verdict):
    found = judged(figures, terms, measured(counts={metric: value}))

    changed = {name: each.verdict for name, each in found.items() if each.verdict != "unchanged"}
    assert changed == {metric: verdict}


@pytest.mark.parametrize(
    ("metric", "difference", "verdict"),
    [
        # The metrics' own tolerances: 1e-4 dB and 1e-5.
        ("psnr_rgb", 0.0001, "unchanged"),
        ("psnr_rgb", -0.0001, "unchanged"),
        ("psnr_rgb", -0.00011, "regressed"),
        ("psnr_rgb", 0.00011, "improved"),
        ("ssim_y", -0.00001, "unchanged"),
        ("ssim_y", -0.000011, "regressed"),
        ("ssim_y", 0.000011, "improved"),
    ],
)
def test_a_score_has_its_metrics_tolerance(figures, terms, measured, metric, difference, verdict):
    before = figures.scores["demo"].values[metric]
    found = judged(figures, terms, measured(scores={metric: before + difference}))

    assert (found[metric].verdict, found[metric].data) == (verdict, "demo")


def test_another_checkpoint_is_a_regression(figures, terms, measured):
    now = measured(weights=WeightsFigure(source="demo", sha256="b" * 64))

    found = judged(figures, terms, now)["weights"]

    assert (found.verdict, found.before, found.now) == ("regressed", "a" * 64, "b" * 64)


@pytest.mark.parametrize(
    ("source", "verdict", "code", "reason"),
    [
        ("demo", "missing", 1, "the shipped weights no longer exist"),
        ("submitted", "missing", 1, "the submitted weights no longer exist"),
        ("released", "incomparable", 3, "the released weights are not on this machine"),
        ("file", "incomparable", 3, "no weights file is given here"),
    ],
)
def test_weights_that_are_not_here(figures, terms, measured, source, verdict, code, reason):
    """Those that ship are lost; those that are fetched are only not on this machine."""
    weights = WeightsFigure(source=source, sha256="a" * 64)
    counts = {**figures.counts, "weights_bytes": 4000}
    before = figures.model_copy(update={"weights": weights, "counts": counts})
    random = WeightsFigure(source="random")
    bare = figures.model_copy(update={"weights": random, "scores": {}})
    why = Absent(kind="unavailable", reason="no file of weights")
    now = measured(figures=bare, absent={(None, "weights_bytes"): why})

    found = judged(before, terms, now)

    of_weights = {"weights", "weights_bytes", "psnr_rgb", "psnr_y", "ssim_y"}
    said = {(found[each].verdict, found[each].exit_code, found[each].reason) for each in of_weights}
    assert said == {(verdict, code, reason)}
    assert found["params"].verdict == "unchanged"


def test_other_settings_are_named_and_touch_only_what_depends_on_them(figures, terms, measured):
    other = terms_of(Protocol(latency=None, counted_input=(64, 64)), terms.software)

    found = judged(figures, terms, measured(terms=other))

    incomparable = {name for name, each in found.items() if each.verdict == "incomparable"}
    assert incomparable == {"macs_aten", "macs_fvcore"}
    assert found["macs_aten"].reason == "counted_input: 256x256 then, 64x64 now"


def test_a_difference_under_another_version_of_the_counter_is_nobodys(figures, terms, measured):
    other = terms.model_copy(update={"software": {**terms.software, "fvcore": "0.2"}})
    now = measured(terms=other, counts={"macs_fvcore": 50_200, "macs_aten": 50_001})

    found = judged(figures, terms, now)

    assert found["macs_fvcore"].verdict == "incomparable"
    assert "fvcore: 0.1.5 then, 0.2 now" in found["macs_fvcore"].reason
    assert found["macs_aten"].verdict == "regressed"
    # The same count under both versions is the same count.
    assert judged(figures, terms, measured(terms=other))["macs_fvcore"].verdict == "unchanged"


def test_other_images_are_incomparable(figures, terms, measured):
    scores = {"demo": Scores(digest="e" * 64, values=figures.scores["demo"].values)}
    now = measured(figures=figures.model_copy(update={"scores": scores}))

    found = judged(figures, terms, now)["psnr_y"]

    assert found.verdict == "incomparable"
    assert found.reason.startswith("digest of the images: dddddddddddd then")
    assert "`esrbench baseline update`" in found.advice


def test_images_that_are_not_here_are_incomparable_with_the_reason(figures, terms, measured):
    why = Absent(kind="unavailable", reason="demo cannot be opened", advice="Fetch it.")
    bare = figures.model_copy(update={"scores": {}})

    found = judged(figures, terms, measured(figures=bare, unopened={"demo": why}))["psnr_rgb"]

    assert (found.verdict, found.reason) == ("incomparable", why.reason)
    assert found.advice == why.advice


@pytest.mark.parametrize(
    ("accelerator", "peak", "verdict"),
    [
        ("A", 100, "unchanged"),
        ("A", 101, "regressed"),
        ("A", 99, "improved"),
        ("B", 101, "incomparable"),
    ],
)
def test_memory_is_compared_by_bytes_on_one_kind_of_gpu(
    figures, terms, measured, accelerator, peak, verdict
):
    def on(accelerator, peak):
        scored = Scores(digest="d" * 64, values={"peak_bytes": peak}, accelerator=accelerator)
        return figures.model_copy(update={"scores": {"demo": scored}})

    found = judged(on("A", 100), terms, measured(figures=on(accelerator, peak)))
    assert found["peak_bytes"].verdict == verdict


def test_a_counter_that_fails_now_has_failed(figures, terms, measured):
    counts = {key: value for key, value in figures.counts.items() if key != "macs_fvcore"}
    why = Absent(kind="failed", reason="fvcore raised", advice=None)
    now = measured(
        figures=figures.model_copy(update={"counts": counts}),
        absent={(None, "macs_fvcore"): why},
    )

    found = judged(figures, terms, now)["macs_fvcore"]

    assert (found.verdict, found.reason, found.now) == ("failed", "fvcore raised", None)


def test_a_figure_that_the_baseline_lacks_is_missing_there(figures, terms, measured):
    found = judged(figures, terms, measured(counts={"conv_calls_aten": 3}))["conv_calls_aten"]

    assert (found.verdict, found.before, found.now, found.exit_code) == ("missing", None, 3, 3)


@pytest.mark.parametrize(
    ("kind", "known", "verdict", "code"),
    [
        ("failed", True, "failed", 4),
        ("unavailable", True, "missing", 1),
        ("skipped", False, "missing", 3),
    ],
)
def test_an_entry_without_figures(figures, terms, measured, kind, known, verdict, code):
    why = Absent(kind=kind, reason="no")

    found = judged(figures if known else None, terms, measured(figures=why))

    assert list(found) == ["entry"]
    assert (found["entry"].verdict, found["entry"].exit_code) == (verdict, code)


def test_only_what_was_asked_for_is_compared(figures, terms, measured):
    found = judged(figures, terms, measured(counts={"params": 2000}), ("macs_aten", "psnr_y"))

    assert set(found) == {"macs_aten", "psnr_y"}
