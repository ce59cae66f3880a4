"""Which sandbox networks run in on this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from esrbench.doctor.check import Check
from esrbench.sandbox.sandbox import obstacle

if TYPE_CHECKING:
    from esrbench.doctor.check import Machine
    from esrbench.sandbox.sandbox import Obstacle

NAME = "isolation"


def check_isolation(_machine: Machine) -> Check:
    """Try the sandboxes, the strongest first; takes some tenths of a second once a process."""
    bubblewrap = obstacle("bubblewrap")
    return judge_isolation(
        bubblewrap, obstacle("landlock") if bubblewrap else None, is_root=not os.getuid()
    )


def judge_isolation(
    bubblewrap: Obstacle | None, landlock: Obstacle | None, *, is_root: bool
) -> Check:
    """What workers are behind here.

    Args:
        bubblewrap: why it cannot be used, None where it works.
        landlock: likewise.
        is_root: whether the evaluator runs as root, for whom processes are not counted.
    """
    if bubblewrap is None:
        finding = "bubblewrap: networks see neither ground truth nor results nor the network"
        if is_root:
            finding += "; as root, their threads have no limit but memory's"
            advice = "Run official measurements as an ordinary user, or set pids.max."
            return Check(name=NAME, state="warning", finding=finding, advice=advice)
        return Check(name=NAME, state="ok", finding=finding)
    if landlock is None:
        finding = f"Landlock and seccomp, the second best: {bubblewrap.reason}"
        return Check(name=NAME, state="warning", finding=finding, advice=bubblewrap.advice)
    finding = f"none, run no network you do not trust: {bubblewrap.reason}; {landlock.reason}"
    advice = f"{bubblewrap.advice} Or: {landlock.advice}"
    return Check(name=NAME, state="warning", finding=finding, advice=advice)
