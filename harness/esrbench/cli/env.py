"""``esrbench env``: Python environments that entries run in."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from esrbench.cli.console import JsonOption, messages, print_json
from esrbench.cli.list import listed
from esrbench.cli.tables import FormatOption, print_table
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from esrbench.entries.environments import EntryEnvironment


def env_command(
    action: Annotated[Literal["create", "list", "remove"], typer.Argument(help="What to do.")],
    name: Annotated[str | None, typer.Argument(help="Name of the environment.")] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(help="File with one requirement per line, including torch and numpy."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            help="Version or path of the interpreter, 3.8 or newer.",
            show_default="this one's version",
        ),
    ] = None,
    table_format: FormatOption = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Create, list or remove Python environments for entries, made by uv from wheels alone."""
    from esrbench.entries.environments import (
        create_environment,
        list_environments,
        remove_environment,
    )

    if action == "list":
        found = list_environments()
    elif name is None:
        message = f"env {action}: which environment?"
        raise UsageError(message, advice=f"For example `esrbench env {action} torch113`.")
    elif action == "remove":
        remove_environment(name)
        if as_json:
            print_json({"removed": name})
        messages().print(f"removed {name}", markup=False)
        return
    elif requirements is None:
        message = "env create: say what to install"
        raise UsageError(message, advice="Name a file by --requirements.")
    else:
        version = python or ".".join(platform.python_version_tuple()[:2])
        found = [create_environment(name, requirements, python=version)]
    print_table(listed([_row(each) for each in found]), table_format, as_json=as_json)


def _row(environment: EntryEnvironment) -> dict[str, Any]:
    return {
        "name": environment.name,
        "python": environment.version,
        "torch": environment.packages.get("torch"),
        "packages": len(environment.packages),
        "interpreter": str(environment.interpreter),
    }
