"""The findings of ``esrbench doctor``, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from esrbench.records import STATES
from esrbench.reports.table import Heading, Note, Section, Span, Table, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import Diagnosis, State
    from esrbench.reports.table import Tone

TONES: Final[dict[State, Tone]] = {
    "ok": "good",
    "unknown": "faint",
    "warning": "doubtful",
    "problem": "wrong",
}


def examination_table(checks: Sequence[Diagnosis], device: str) -> Table:
    """One row for each check. Advice stands below, the most important first.

    Args:
        checks: findings of the checks.
        device: device that is to be measured on.
    """
    advised = sorted(
        (check for check in checks if check.advice), key=lambda check: STATES.index(check.state)
    )
    rows = tuple(
        (plain(check.state, TONES[check.state]), plain(check.name), plain(check.finding))
        for check in checks
    )
    records = [check.model_dump(mode="json") for check in checks]
    states = [check.state for check in checks]
    return Table(
        headings=(Heading("state"), Heading("check"), Heading("finding", prose=True)),
        sections=(Section(rows),),
        notes=tuple(Note(f"{check.state} {check.name}: {check.advice}") for check in advised),
        outcome=_verdict(states),
        records=records,
        document={"device": device, "checks": records, "fit": "problem" not in states},
    )


def _verdict(states: Sequence[State]) -> Span:
    """One line on all checks together."""
    if "problem" in states:
        return Span("Nothing can be measured here until the problems are fixed.", "wrong")
    if warnings := states.count("warning"):
        said = f"{warnings} of {len(states)} checks warn that times may be noisy"
        return Span(f"Measuring works; {said}.")
    return Span("Fit for measuring.", "good")
