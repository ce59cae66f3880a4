"""The sandbox that networks run in on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esrbench.doctor.check import judged
from esrbench.sandbox.tiers import SANDBOXES, obstacle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.doctor.check import Machine
    from esrbench.records import Diagnosis
    from esrbench.sandbox.sandbox import Obstacle, Sandbox

NAME = "isolation"


def check_isolation(_machine: Machine) -> Diagnosis:
    """Try the sandboxes, the strongest first; takes some tenths of a second once a process."""
    unused: list[Obstacle] = []
    for tier, sandbox in SANDBOXES.items():
        found = obstacle(tier)
        if found is None:
            return judge_isolation(sandbox, unused, is_root=not os.getuid())
        unused.append(found)
    raise AssertionError("a plain process can always be started")


def judge_isolation(
    sandbox: type[Sandbox], unused: Sequence[Obstacle], *, is_root: bool
) -> Diagnosis:
    """What networks run in here.

    Args:
        sandbox: the strongest that works.
        unused: why stronger ones cannot be used.
        is_root: whether the evaluator runs as root, for whom processes are not counted.
    """
    finding = sandbox.finding
    if unused:
        return judged(
            NAME,
            f"{finding}: {'; '.join(found.reason for found in unused)}",
            " Or: ".join(found.advice for found in unused),
        )
    if is_root:
        finding += "; as root, their threads have no limit but memory's"
        advice = "Run official measurements as an ordinary user, or set pids.max."
        return judged(NAME, finding, advice)
    return judged(NAME, finding)
