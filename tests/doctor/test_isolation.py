from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.doctor import isolation
from esrbench.doctor.isolation import check_isolation, judge_isolation
from esrbench.sandbox.sandbox import Obstacle
from esrbench.sandbox.tiers import Bubblewrap, Landlock, PlainProcess, open_sandbox

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from esrbench.doctor import Machine

NO_BUBBLEWRAP = Obstacle("bubblewrap is not installed", "Install bubblewrap.")
NO_LANDLOCK = Obstacle("no Landlock", "Use another kernel.")


def test_the_strongest_sandbox_is_fine_for_an_ordinary_user() -> None:
    check = judge_isolation(Bubblewrap, [], is_root=False)
    assert (check.state, check.advice) == ("ok", None)
    assert check.finding.startswith("bubblewrap:")


def test_root_is_told_what_is_not_limited() -> None:
    check = judge_isolation(Bubblewrap, [], is_root=True)
    assert check.state == "warning"
    assert "pids.max" in str(check.advice)


def test_a_weaker_sandbox_is_told_with_the_reason_and_the_mend() -> None:
    check = judge_isolation(Landlock, [NO_BUBBLEWRAP], is_root=False)
    assert (check.state, check.advice) == ("warning", "Install bubblewrap.")
    assert "Landlock" in check.finding
    assert "bubblewrap is not installed" in check.finding


def test_no_sandbox_is_told_with_both_reasons() -> None:
    check = judge_isolation(PlainProcess, [NO_BUBBLEWRAP, NO_LANDLOCK], is_root=False)
    assert check.state == "warning"
    assert check.finding.startswith("none, run no network you do not trust")
    assert "bubblewrap is not installed; no Landlock" in check.finding
    assert check.advice == "Install bubblewrap. Or: Use another kernel."


def test_what_is_told_is_what_runs_use(machine: Callable[..., Machine]) -> None:
    words = {"bubblewrap": "bubblewrap:", "landlock": "Landlock", "subprocess": "none"}
    assert check_isolation(machine()).finding.startswith(words[open_sandbox("auto").tier])


def test_landlock_is_not_tried_where_bubblewrap_works(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(isolation, "obstacle", asked.append)
    check_isolation(machine())
    assert asked == ["bubblewrap"]
