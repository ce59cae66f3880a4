from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.gate.baseline import ratio_of
from esrbench.gate.figures import RuntimeRatio
from esrbench.gate.runtime import compare_ratio, judge_race, ratio_design
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable

    from esrbench.records import RaceRecord

    Race = Callable[..., RaceRecord]


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [(1.05, "regressed"), (1.0, "unchanged"), (0.9, "improved"), (1.02, "inconclusive")],
)
def test_a_race_has_four_verdicts(make_race: Race, ratio: float, verdict: str) -> None:
    """The line is at 2.5 %, and pairs scatter by 1 % to either side."""
    found = judge_race("net", make_race(ratio), 4, same=True)

    assert found.verdict == verdict
    assert found.metric == "runtime"
    assert found.now == pytest.approx(ratio, rel=0.011)


def test_nothing_is_judged_on_a_noisy_machine(make_race: Race) -> None:
    noisy = make_race(1.5, self_half=0.07)

    raced = judge_race("net", noisy, 4, same=False)
    kept = ratio_of(make_race(1.0))
    assert kept is not None
    compared = compare_ratio("net", kept, noisy, 4)

    assert raced.verdict == compared.verdict == "inconclusive"
    assert "the machine is too noisy" in raced.reason
    assert "the machine is too noisy" in compared.reason


@pytest.mark.parametrize(("self_half", "verdict"), [(0.055, "regressed"), (0.065, "inconclusive")])
def test_the_self_check_of_a_kept_ratio_is_in_proportion_to_its_line(
    make_race: Race, self_half: float, verdict: str
) -> None:
    """A race's is 1.5 % at a line of 2.5 %: 6 % at one of 10 %."""
    kept = ratio_of(make_race(1.0))
    assert kept is not None

    assert compare_ratio("net", kept, make_race(1.7, self_half=self_half), 4).verdict == verdict


def test_pairs_timed_under_load_are_not_judged(make_race: Race) -> None:
    kept = ratio_of(make_race(1.0))
    assert kept is not None

    found = compare_ratio("net", kept, make_race(1.5, set_aside="others took 40 %"), 4)

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
    ],
)
def test_a_kept_ratio_has_its_tolerance_beyond_both_intervals(
    make_race: Race, change: float, verdict: str
) -> None:
    """10 % on the same machine: from the bound of the one interval to that of the other.

    Pairs scatter by 1 % to either side, and so do both intervals.
    """
    kept = ratio_of(make_race(1.8))
    assert kept is not None
    assert (kept.low, kept.high) == (pytest.approx(1.782, abs=1e-3), pytest.approx(1.818, abs=1e-3))

    found = compare_ratio("net", kept, make_race(1.8 * change), 4)

    assert found.verdict == verdict
    assert found.before == kept.ratio


def test_between_the_lines_a_kept_ratio_is_inconclusive(make_race: Race) -> None:
    """The line is 1.1 times the upper bound of 1.818, which is 2.0; 1.11 reaches 1.978 to 2.018."""
    kept = ratio_of(make_race(1.8))
    assert kept is not None

    assert compare_ratio("net", kept, make_race(1.8 * 1.11), 4).verdict == "inconclusive"


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
def test_a_ratio_of_other_terms_is_incomparable_whatever_it_is(
    make_race: Race, ratio: float, other: dict[str, object], said: str
) -> None:
    same = {"isolation": "bubblewrap", "cpu_model": "family 25", "variables": {}}
    kept = ratio_of(make_race(1.0, **same))
    assert kept is not None

    found = compare_ratio("net", kept, make_race(ratio, **{**same, **other}), 4)

    assert (found.verdict, found.exit_code) == ("incomparable", 3)
    assert said in found.reason
    assert "esrbench check net --baseline REVISION" in str(found.advice)
    assert "--against reference" in str(found.advice)


def test_a_ratio_without_a_sandbox_is_of_other_terms(make_race: Race) -> None:
    """A file of an earlier esrbench loads, but nobody knows how its workers were confined."""
    now = make_race(1.0)
    kept = ratio_of(now)
    assert kept is not None
    document = kept.model_dump(mode="json")
    del document["sandbox"]

    found = compare_ratio("net", RuntimeRatio.model_validate(document), now, 4)

    assert found.verdict == "incomparable"
    assert f"sandbox: none then, {now.environment.isolation} now" in found.reason


def test_a_forward_that_fails_is_said(make_race: Race) -> None:
    kept = ratio_of(make_race(1.0))
    assert kept is not None
    why = Absent(kind="failed", reason="forward-error: no", advice="Mend it.")

    for found in (compare_ratio("net", kept, why, 4), judge_race("net", why, 4, same=True)):
        assert (found.verdict, found.reason, found.exit_code) == ("failed", why.reason, 4)


def test_a_ratio_is_looked_at_once() -> None:
    design = ratio_design()

    assert (design.first_look, design.look_every, design.max_pairs) == (120, 120, 120)
    assert design.max_pairs // design.process_pairs == 4
