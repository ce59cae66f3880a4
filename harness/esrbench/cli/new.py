"""``esrbench new``: a submission to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, open_registry, print_json, results
from esrbench.errors import UsageError


def new_command(
    name: Annotated[
        str | None, typer.Argument(help="TEAM-NAME: the folder's name and the entry's.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--submissions", help="Folder of all entries.", show_default="submissions"),
    ] = None,
    scale: Annotated[int, typer.Option(min=1, max=16, help="Upscaling factor.")] = 4,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of submission.toml instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a new entry in submissions/: a network that works, its manifest, weights and test."""
    if schema:
        from esrbench.entries.manifest import json_schema

        print_json(json_schema())
        return
    if name is None:
        message = "new: what is the entry called?"
        raise UsageError(message, advice="For example `esrbench new team07-fastsr`.")
    from esrbench.entries.scaffold import scaffold
    from esrbench.entries.submissions import submissions_folder

    registry = open_registry()
    if name in registry or name in registry.broken:
        taken = registry.get(name).origin if name in registry else f"the broken folder {name}"
        message = f"the name {name!r} is already registered by {taken}"
        raise UsageError(message, advice="Choose another name.")
    path = scaffold(name, folder or submissions_folder(), scale=scale)
    called = name if folder is None else shlex.quote(str(path))
    steps = (
        f"replace the network in {path / 'model.py'} and the file of weights",
        f"say so in {path / 'submission.toml'}: factory, kwargs, weights, team",
        f"esrbench validate {called}",
        f"esrbench run {called} --data demo",
    )
    if as_json:
        files = sorted(str(each) for each in path.rglob("*") if each.is_file())
        print_json({"name": name, "path": str(path), "files": files, "next": steps})
        return
    results().print(f"{path} is an entry that works. Make it yours:", markup=False, soft_wrap=True)
    for number, step in enumerate(steps, 1):
        results().print(f"  {number}. {step}", markup=False, soft_wrap=True)
