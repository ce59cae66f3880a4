"""``esrbench doctor``: is this machine fit for measuring?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, messages
from esrbench.cli.options import DeviceOption, ResultsOption
from esrbench.cli.tables import print_table
from esrbench.devices import parse_device
from esrbench.errors import EXIT_MEASUREMENT_FAILED
from esrbench.reports.examination import examination_table
from esrbench.runs.store import Store, default_results


def doctor_command(
    device: DeviceOption = "cpu",
    quick: Annotated[
        bool, typer.Option("--quick", help="Skip the race of a network against its copy.")
    ] = False,
    save: Annotated[
        bool,
        typer.Option("--save", help="Keep the findings with the results, for `esrbench report`."),
    ] = False,
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check this machine for what disturbs or prevents measuring, and say how to fix it."""
    from esrbench.data.cache import cache_dir
    from esrbench.doctor import Machine, examine
    from esrbench.environment import describe_environment
    from esrbench.records import MACHINE, Examination

    kind, gpu = parse_device(device)
    results = results_folder or default_results()
    machine = Machine(device=kind, gpu=gpu, results=results, cache=cache_dir())
    # A faster spinner would take CPU time from what is timed.
    with messages().status("looking at this machine", refresh_per_second=1):
        checks = list(examine(machine, quick=quick))
    table = examination_table(checks, device)
    print_table(table, as_json=as_json)
    if save:
        environment = describe_environment(threads=machine.threads, accelerator=None)
        told = environment.model_dump(include=set(MACHINE))
        now = datetime.now(UTC)
        found = Examination(created=now, device=kind, checks=tuple(checks), **told)
        path = Store(results).put(found)
        messages().print(f"The findings are in {path}", markup=False)
    if not table.document["fit"]:
        raise typer.Exit(EXIT_MEASUREMENT_FAILED)
