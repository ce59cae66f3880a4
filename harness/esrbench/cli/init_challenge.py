"""``esrbench init-challenge``: a challenge to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, print_json, results
from esrbench.errors import UsageError


def init_challenge_command(
    name: Annotated[str | None, typer.Argument(help="Folder to create.")] = None,
    like: Annotated[
        str, typer.Option(help="Edition whose rule and data the challenge uses.")
    ] = "ntire2026",
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of challenge.toml instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start a challenge: one file that says what runs, how it ranks and what is published."""
    if schema:
        from esrbench.challenge.file import json_schema

        print_json(json_schema())
        return
    if name is None:
        message = "init-challenge: what is it called?"
        raise UsageError(message, advice="For example `esrbench init-challenge esr2027`.")
    from esrbench.challenge.scaffold import scaffold_challenge

    path = scaffold_challenge(Path(name), like)
    steps = (
        f"esrbench run {path} --plan",
        f"esrbench run {path}",
        f"put entries into {path.parent / 'submissions'} and data into {path}",
    )
    if as_json:
        print_json({"path": str(path), "next": steps})
        return
    results().print(f"{path} is a challenge that runs. Next:", markup=False, soft_wrap=True)
    for number, step in enumerate(steps, 1):
        results().print(f"  {number}. {step}", markup=False, soft_wrap=True)
