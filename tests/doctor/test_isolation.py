from fnmatch import fnmatchcase

import pytest

from esrbench.doctor import isolation
from esrbench.doctor.isolation import check_isolation, judge_isolation
from esrbench.sandbox.sandbox import Obstacle
from esrbench.sandbox.tiers import Bubblewrap, Landlock, PlainProcess, open_sandbox

NO_BUBBLEWRAP = Obstacle("bubblewrap is not installed", "Install bubblewrap.")
NO_LANDLOCK = Obstacle("no Landlock", "Use another kernel.")


@pytest.mark.parametrize(
    ("sandbox", "unused", "is_root", "finding", "advice"),
    [
        (Bubblewrap, [], False, "bubblewrap:*", None),
        (Bubblewrap, [], True, "bubblewrap:*no limit but memory's", "*pids.max*"),
        (
            Landlock,
            [NO_BUBBLEWRAP],
            False,
            "*Landlock*: bubblewrap is not *",
            "Install bubblewrap.",
        ),
        (
            PlainProcess,
            [NO_BUBBLEWRAP, NO_LANDLOCK],
            False,
            "none, run no network you do not trust*bubblewrap is not installed; no Landlock",
            "Install bubblewrap. Or: Use another kernel.",
        ),
    ],
)
def test_a_sandbox_is_judged_by_its_strength(sandbox, unused, is_root, finding, advice):
    check = judge_isolation(sandbox, unused, is_root=is_root)
    assert check.state == ("warning" if advice else "ok")
    assert fnmatchcase(check.finding, finding)
    assert check.advice is None if advice is None else fnmatchcase(check.advice, advice)


def test_what_is_told_is_what_runs_use(machine):
    words = {"bubblewrap": "bubblewrap:", "landlock": "Landlock", "subprocess": "none"}
    assert check_isolation(machine()).finding.startswith(words[open_sandbox("auto").tier])


def test_landlock_is_not_tried_where_bubblewrap_works(machine, monkeypatch):
    asked = []
    monkeypatch.setattr(isolation, "obstacle", asked.append)
    check_isolation(machine())
    assert asked == ["bubblewrap"]
