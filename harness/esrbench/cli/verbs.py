"""The verbs of ``esrbench``, each imported only when it is asked for.

Building the options of all verbs imports the records and costs more than all else that
``--help`` does, so the list of verbs is data.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from typer.core import TyperGroup

from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


@dataclass(frozen=True, slots=True)
class Verb:
    """One command.

    Attributes:
        module: in ``esrbench.cli``.
        function: in that module.
        summary: first line of the function's docstring.
    """

    module: str
    function: str
    summary: str

    def load(self) -> Callable[..., None]:
        """Import the command's function."""
        function: Callable[..., None] = getattr(
            import_module(f"esrbench.cli.{self.module}"), self.function
        )
        return function


VERBS = {
    "run": Verb(
        "run", "run_command", "Measure networks on data sets and print the challenge leaderboard."
    ),
    "race": Verb(
        "race",
        "race_command",
        "Race two networks that you trust, pair by pair in one process, until it is decided.",
    ),
    "leaderboard": Verb(
        "leaderboard",
        "leaderboard_command",
        "Print the challenge table of the newest comparable records.",
    ),
    "check": Verb(
        "check",
        "check_command",
        "Compare networks with a baseline: counts exactly, scores, memory, runtime by races.",
    ),
    "baseline": Verb(
        "baseline",
        "baseline_command",
        "Write what networks measure now into a baseline file, and print what changed.",
    ),
    "rules": Verb(
        "rules",
        "rules_command",
        "List the editions' rules, or explain one: tracks, formula, gate, ties, source.",
    ),
    "compare": Verb(
        "compare",
        "compare_command",
        "Print a paper's comparison table of stored records, best and second best marked.",
    ),
    "list": Verb("listing", "list_command", "List networks, data sets, metrics or rules."),
    "show": Verb(
        "show",
        "show_command",
        "Show what is known of one network, data set or run; --json leaves nothing out.",
    ),
    "paper-table": Verb(
        "paper_table",
        "paper_table_command",
        "Count every network of the AIDN paper's table and judge its printed figures.",
    ),
    "fetch": Verb(
        "fetch",
        "fetch_command",
        "Download and verify data sets or released weights: hash-checked, resumable.",
    ),
    "validate": Verb(
        "validate",
        "validate_command",
        "Check that networks build, load strictly, upscale any size and are deterministic.",
    ),
    "new": Verb(
        "new",
        "new_command",
        "Start a new entry in submissions/: a network that works, its manifest, weights and test.",
    ),
    "convert-weights": Verb(
        "convert_weights",
        "convert_weights_command",
        "Convert a weights file to safetensors in the sandbox, and print its lines of a manifest.",
    ),
    "train": Verb(
        "train",
        "train_command",
        "Train by a recipe; what comes out runs as `esrbench run MODEL --weights FILE`.",
    ),
    "doctor": Verb(
        "doctor",
        "doctor_command",
        "Check this machine for what disturbs or forbids measuring, and say how to mend it.",
    ),
}


class Verbs(TyperGroup):
    """A group whose commands are stand-ins with a summary until one is invoked."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the stand-in that was asked for by the command itself."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or name not in VERBS:
            return name, stand_in, rest
        alone = typer.Typer(add_completion=False, context_settings=HELP_OPTIONS)
        function = VERBS[name].load()
        alone.command(name)(function)
        command = typer.main.get_command(alone)
        _require_paths(function, command, rest)
        return name, command, rest


def _require_paths(function: Callable[..., Any], command: Any, words: list[str]) -> None:
    """Refuse an empty path, as of a variable that is not set: it would mean the current folder."""
    kinds = get_type_hints(function)
    paths = {
        option
        for parameter in command.params
        if kinds.get(parameter.name) in {Path, Path | None}
        for option in parameter.opts
    }
    for word, following in itertools.pairwise([*words, "."]):
        option, equals, value = word.partition("=")
        if option in paths and not (value if equals else following):
            message = f"{option}: expected a path, not an empty text"
            raise UsageError(message, advice="Leave the option out, or write . for this folder.")


def register_verbs(app: typer.Typer) -> None:
    """Give an application, whose group is ``Verbs``, a stand-in for each verb."""
    for name, verb in VERBS.items():
        app.command(name, help=verb.summary)(_stand_in)


def _stand_in() -> None:
    """Never runs: ``Verbs`` puts the command itself in its place."""
