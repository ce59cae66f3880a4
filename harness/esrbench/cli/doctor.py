"""``esrbench doctor``: what is wrong with this machine for measuring?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from esrbench.cli.console import JsonOption, messages
from esrbench.cli.options import DeviceOption, ResultsOption
from esrbench.cli.tables import print_table
from esrbench.devices import parse_device
from esrbench.errors import EXIT_MEASUREMENT_FAILED
from esrbench.reports.table import Heading, Note, Section, Span, Table, plain
from esrbench.runs.store import default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.doctor import State
    from esrbench.reports.table import Tone

TONES: Final[dict[State, Tone]] = {
    "ok": "good",
    "unknown": "faint",
    "warning": "doubtful",
    "problem": "wrong",
}


def doctor_command(
    device: DeviceOption = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the race of a network against its copy.")
    ] = False,
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine for what disturbs or forbids measuring, and say how to mend it."""
    from esrbench.data.cache import cache_dir
    from esrbench.doctor import STATES, Machine, examine

    kind, gpu = parse_device(device)
    results = results_folder or default_results()
    machine = Machine(device=kind, gpu=gpu, results=results, cache=cache_dir())
    # A lively spinner would take CPU time from what is timed.
    with messages().status("looking at this machine", refresh_per_second=1):
        checks = list(examine(machine, quick=quick))
    forbidden = any(check.state == "problem" for check in checks)
    advised = sorted(
        (check for check in checks if check.advice), key=lambda check: STATES.index(check.state)
    )
    rows = tuple(
        (plain(check.state, TONES[check.state]), plain(check.name), plain(check.finding))
        for check in checks
    )
    records = [check.model_dump(mode="json") for check in checks]
    table = Table(
        headings=(Heading("state"), Heading("check"), Heading("finding", prose=True)),
        sections=(Section(rows),),
        notes=tuple(Note(f"{check.state} {check.name}: {check.advice}") for check in advised),
        outcome=_verdict([check.state for check in checks]),
        records=records,
        document={"device": device, "checks": records, "fit": not forbidden},
    )
    print_table(table, as_json=as_json)
    if forbidden:
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _verdict(states: Sequence[State]) -> Span:
    """One line on all checks together."""
    if "problem" in states:
        return Span("Nothing can be measured here until the problems are mended.", "wrong")
    if warnings := states.count("warning"):
        said = f"{warnings} of {len(states)} checks warn that times may be noisy"
        return Span(f"Measuring works; {said}.")
    return Span("Fit for measuring.", "good")
