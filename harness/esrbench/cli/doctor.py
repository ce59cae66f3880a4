"""``esrbench doctor``: what is wrong with this machine for measuring?"""

from __future__ import annotations

from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, messages, print_json, results
from esrbench.cli.options import ResultsOption
from esrbench.errors import EXIT_MEASUREMENT_FAILED
from esrbench.protocol import Device
from esrbench.runs.store import default_results

MARKS = {
    "ok": "[green]ok[/]",
    "unknown": "[dim]unknown[/]",
    "warning": "[yellow]warning[/]",
    "problem": "[bold red]problem[/]",
}


def doctor_command(
    device: Annotated[Device, typer.Option(help="Where forwards are to run.")] = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Leave out the race of a network against its copy.")
    ] = False,
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine for what disturbs or forbids measuring, and say how to mend it."""
    from rich.markup import escape
    from rich.table import Table

    from esrbench.data.cache import cache_dir
    from esrbench.doctor import STATES, Machine, examine

    machine = Machine(device=device, results=results_folder or default_results(), cache=cache_dir())
    # A lively spinner would take CPU time from what is timed.
    with messages().status("looking at this machine", refresh_per_second=1):
        checks = list(examine(machine, quick=quick))
    forbidden = any(check.state == "problem" for check in checks)
    if as_json:
        rows = [check.model_dump(mode="json") for check in checks]
        print_json({"device": device, "checks": rows, "fit": not forbidden})
    else:
        table = Table()
        table.add_column("state", no_wrap=True)
        table.add_column("check", no_wrap=True)
        table.add_column("finding", overflow="fold")
        for check in checks:
            table.add_row(MARKS[check.state], escape(check.name), escape(check.finding))
        console = results()
        console.print(table)
        console.print()
        advised = [check for check in checks if check.advice]
        for check in sorted(advised, key=lambda check: STATES.index(check.state)):
            console.print(
                f"{MARKS[check.state]} {escape(check.name)}: {escape(check.advice or '')}"
            )
        console.print(f"\n{_verdict([check.state for check in checks])}")
    if forbidden:
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)


def _verdict(states: list[str]) -> str:
    """One line on all checks together."""
    if "problem" in states:
        return "[bold red]Nothing can be measured here until the problems are mended.[/]"
    if warnings := states.count("warning"):
        return f"Measuring works; {warnings} of {len(states)} checks warn that times may be noisy."
    return "[green]Fit for measuring.[/]"
