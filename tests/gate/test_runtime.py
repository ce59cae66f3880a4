from dataclasses import replace

import pytest

from esrbench.environment import cpus_available
from esrbench.gate.baseline import ratio_of
from esrbench.gate.figures import RuntimeRatio
from esrbench.gate.runtime import RATIO_DESIGN, compare_ratio, judge_race, terms_here
from esrbench.records import Absent
from esrbench.runs.evaluator import Entry
from esrbench.runs.null_times import NO_WEIGHTS
from esrbench.sandbox.interpreters import own_interpreter

KEY = ("net", 4)


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.05, "regressed"), (1.0, "unchanged"), (0.9, "improved"), (1.02, "inconclusive")],
)
def test_a_race_has_four_verdicts(make_race, ratio, verdict):
    """The line is at 2.5 %, and pairs scatter by 1 % to either side."""
    found = judge_race(KEY, make_race(ratio), same=True)

    assert (found.verdict, found.metric) == (verdict, "runtime")
    assert found.now == pytest.approx(ratio, rel=0.011)


def test_nothing_is_judged_on_a_noisy_machine(make_race):
    noisy = make_race(1.5, self_half=0.07)
    kept = ratio_of(make_race(1.0))

    for found in (judge_race(KEY, noisy, same=False), compare_ratio(KEY, kept, noisy)):
        assert found.verdict == "inconclusive"
        assert "the machine is too noisy" in found.reason


@pytest.mark.parametrize(("self_half", "verdict"), [(0.055, "regressed"), (0.065, "inconclusive")])
def test_the_self_check_of_a_kept_ratio_is_in_proportion_to_its_line(make_race, self_half, verdict):
    """A race's is 1.5 % at a line of 2.5 %: 6 % at one of 10 %."""
    kept = ratio_of(make_race(1.0))

    assert compare_ratio(KEY, kept, make_race(1.7, self_half=self_half)).verdict == verdict


def test_pairs_timed_under_load_are_not_judged(make_race):
    kept = ratio_of(make_race(1.0))

    found = compare_ratio(KEY, kept, make_race(1.5, set_aside="others took 40 %"))

    assert found.verdict == "inconclusive"
    assert "90 of 90 pairs were set aside" in found.reason


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (1.0, "unchanged"),
        (1.08, "unchanged"),
        (1 / 1.08, "unchanged"),
        (1.20, "regressed"),
        (1 / 1.20, "improved"),
        # The line is 1.1 times the upper bound of 1.818, which is 2.0; this reaches 1.978 to 2.018.
        (1.11, "inconclusive"),
    ],
)
def test_a_kept_ratio_has_its_tolerance_beyond_both_intervals(make_race, change, verdict):
    """10 % on the same machine: from the bound of the one interval to that of the other.

    Pairs scatter by 1 % to either side, and so do both intervals.
    """
    kept = ratio_of(make_race(1.8))
    assert (kept.low, kept.high) == (pytest.approx(1.782, abs=1e-3), pytest.approx(1.818, abs=1e-3))

    found = compare_ratio(KEY, kept, make_race(1.8 * change))

    assert (found.verdict, found.before) == (verdict, kept.ratio)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"cpu": "another processor"}, "machine: a processor then, another processor now"),
        ({"threads": 8}, "threads: 2 then, 8 now"),
        ({"packages": {"torch": "3.0.0+cpu"}}, "torch: 2.13.0 then, 3.0.0 now"),
        ({"isolation": "landlock"}, "sandbox: bubblewrap then, landlock now"),
        # Virtual machines give several generations one name.
        ({"cpu_model": "family 6"}, "cpu_model: family 25 then, family 6 now"),
        ({"variables": {"ONEDNN_MAX_CPU_ISA": "AVX"}}, "ONEDNN_MAX_CPU_ISA: none then, AVX now"),
        (
            {"cpu": "another processor", "threads": 1},
            "threads: 2 then, 1 now; machine: a processor then, another processor now",
        ),
    ],
)
@pytest.mark.parametrize("ratio", [0.4, 1.0, 1.3, 1.6, 40.0])
def test_a_ratio_of_other_terms_is_incomparable_whatever_it_is(make_race, ratio, other, said):
    same = {"isolation": "bubblewrap", "cpu_model": "family 25", "variables": {}}
    kept = ratio_of(make_race(1.0, **same))

    found = compare_ratio(KEY, kept, make_race(ratio, **{**same, **other}))

    assert (found.verdict, found.exit_code) == ("incomparable", 3)
    assert said in found.reason
    assert "esrbench check net --baseline REVISION" in str(found.advice)
    assert "--against reference" in str(found.advice)


def test_a_ratio_without_a_sandbox_is_of_other_terms(make_race):
    """A file of an earlier esrbench loads, but nobody knows how its workers were confined."""
    now = make_race(1.0)
    document = ratio_of(now).model_dump(mode="json")
    del document["sandbox"]

    found = compare_ratio(KEY, RuntimeRatio.model_validate(document), now)

    assert found.verdict == "incomparable"
    assert f"sandbox: none then, {now.environment.isolation} now" in found.reason


def test_fewer_cpus_than_a_kept_ratio_had_are_other_terms(make_race, describe):
    """It is not an error of usage: nobody asked for threads that this machine lacks."""
    many = ratio_of(make_race(1.8)).model_copy(update={"threads": 4096})

    entry = Entry(describe("Nearest"), 4, NO_WEIGHTS)
    assert terms_here(many, None, entry).threads == cpus_available()
    assert terms_here(many, 1, entry).threads == 1
    old = replace(own_interpreter(), versions=(("python", "3.9"), ("torch", "1"), ("numpy", "1")))
    assert terms_here(many, 1, replace(entry, interpreter=old)).torch == "1"


def test_a_forward_that_fails_is_said(make_race):
    kept = ratio_of(make_race(1.0))
    why = Absent(kind="failed", reason="forward-error: no", advice="Mend it.")

    for found in (compare_ratio(KEY, kept, why), judge_race(KEY, why, same=True)):
        assert (found.verdict, found.reason, found.exit_code) == ("failed", why.reason, 4)


def test_a_ratio_is_looked_at_once():
    design = RATIO_DESIGN

    assert (design.first_look, design.look_every, design.max_pairs) == (120, 120, 120)
    assert design.max_pairs // design.process_pairs == 4
