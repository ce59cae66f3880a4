"""``esrbench cell``: make one cell of a suite on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, messages, print_json
from esrbench.plaintext import line


def cell_command(
    plan: Annotated[Path, typer.Argument(help="File of the plan, in the folder of its suite.")],
    cell_id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the cell, such as timed-0002.")
    ],
    gpu: Annotated[
        int,
        typer.Option(
            min=0, help="Number of the GPU to run on. Without it, the cell runs on the CPU."
        ),
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make what is missing of one cell of a suite on this machine.

    Engines run this command on the nodes of a cluster. You can also run it by hand, on any machine
    that sees the suite's files, to speed a suite up. If two make the same pass, the first counts.
    """
    from esrbench.runs.suite import run_cell

    def on_step(entry: str, step: str) -> None:
        messages().print(line(f"{entry}: {step}"), markup=False)

    made = run_cell(plan, cell_id, gpu=gpu, on_step=on_step)
    if as_json:
        print_json({"cell": cell_id, "made": made})
    else:
        messages().print(f"{cell_id}: made {made} passes", markup=False)
