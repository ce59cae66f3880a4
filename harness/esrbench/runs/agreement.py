"""Check that the counted network is the measured one and fits its weights file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.records import Complexity

if TYPE_CHECKING:
    from esrbench.records import Notice
    from esrbench.runs.passes import UntimedPass

COUNTED_OTHERWISE = "counted-otherwise"
HIDDEN_CONSTANTS = "hidden-constants"

UNEXPLAINED_SHARE = 0.01
UNEXPLAINED_ELEMENTS = 1000
"""Allowed difference between sizes: this share, or this many numbers if that is more."""

ADVICE = (
    "Keep every weight in a parameter of the network, before and after it is loaded; what a hook "
    "merges belongs into `prepare`."
)


def disagreement(untimed: UntimedPass) -> tuple[str, str | None] | None:
    """Say why the counts do not describe the measured network, and what to do.

    A file may hold more than its network takes (a teacher, an optimiser's averages), and a network
    may hold less after it was merged. So missing numbers count as hidden only if the audit also
    finds constants that are no parameters and are combined with the image.

    Args:
        untimed: what the untimed pass found.

    Returns:
        Cause and advice, or None if nothing disagrees or nothing was counted.
    """
    complexity = untimed.complexity
    if not isinstance(complexity, Complexity):
        return None
    told = {notice.code: notice for notice in complexity.notices}
    if COUNTED_OTHERWISE in told:
        found: Notice = told[COUNTED_OTHERWISE]
        return found.message, found.advice
    if HIDDEN_CONSTANTS not in told or untimed.ready is None:
        return None
    stored, held = untimed.stored_elements, untimed.ready.state_elements
    if stored is not None and held is not None and _beyond(stored, held):
        said = (
            f"the weights file holds {stored:,} numbers and the loaded network {held:,} in its "
            f"parameters and buffers; {told[HIDDEN_CONSTANTS].message}"
        )
        return said, ADVICE
    deployed = untimed.ready.deployed_elements
    if deployed is not None and _beyond(deployed, complexity.params):
        said = (
            f"the network had {deployed:,} parameters when it was loaded and "
            f"{complexity.params:,} when it was counted; {told[HIDDEN_CONSTANTS].message}"
        )
        return said, ADVICE
    return None


def _beyond(more: int, fewer: int) -> bool:
    return more - fewer > max(UNEXPLAINED_ELEMENTS, UNEXPLAINED_SHARE * fewer)
