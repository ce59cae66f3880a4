"""The verbs of ``esrbench``, each imported only when it is asked for.

The list of verbs is data, because building the options of all verbs imports the records and takes
longer than everything else that ``--help`` does.
"""

from __future__ import annotations

import itertools
import keyword
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer
from typer.core import TyperGroup

from esrbench.cli.completion import complete
from esrbench.cli.defaults import defaults_of
from esrbench.cli.help_layout import WIDEST, GroupedCommand, write_unbroken
from esrbench.errors import UsageError
from esrbench.plaintext import line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

HELP_OPTIONS = {"help_option_names": ["-h", "--help"], "max_content_width": WIDEST}
VERBS = {
    "run": "Measure networks on data sets and print the challenge leaderboard.",
    "cell": "Make what is missing of one cell of a suite on this machine.",
    "status": "Show how far a suite is over all machines: entries, cells, time left, failures.",
    "race": "Race two networks that you trust, pair by pair in one process, until it is decided.",
    "runs": "List, withdraw, disqualify, restore, rename, export or merge stored runs.",
    "score": (
        "Score SR images that somebody else made, without their network, and store the record."
    ),
    "init-challenge": (
        "Start a challenge: one file that says what runs, how it ranks and what is published."
    ),
    "codabench": (
        "Write a challenge as a bundle for Codabench, or run one of the bundle's programs."
    ),
    "leaderboard": "Print the challenge table of the newest comparable records.",
    "report": "Write one HTML file to publish: leaderboard, charts, images, times, machine.",
    "site": "Write pages for all data sets, editions and dates, with an index, ready to publish.",
    "check": "Compare networks with a baseline: counts exactly, scores, memory, runtime by races.",
    "baseline": "Write what networks measure now into a baseline file, and print what changed.",
    "rules": "List the editions' rules, or explain one: tracks, formula, gate, ties, source.",
    "compare": "Print a paper's comparison table of stored records, best and second best marked.",
    "figure": "Draw a figure for a paper from stored records and published figures.",
    "list": "List networks, data sets, metrics or rules.",
    "show": "Show what is known of one network, data set or run; --json leaves nothing out.",
    "paper-table": "Count every network of the AIDN paper's table and judge its printed figures.",
    "fetch": "Download and verify data sets or released weights: hash-checked, resumable.",
    "validate": "Check that networks build, load strictly, upscale any size and are deterministic.",
    "new": (
        "Start a new entry in submissions/: a network that works, its manifest, weights and test."
    ),
    "import": "Turn a challenge's repository into submission folders, without running its code.",
    "convert-weights": (
        "Convert a weights file to safetensors in the sandbox, and print its lines of a manifest."
    ),
    "export": (
        "Export a network for images of any size, in the sandbox, and check it by its own runtime."
    ),
    "env": "Create, list or remove Python environments for entries, made by uv from wheels alone.",
    "train": "Train by a recipe; what comes out runs as `esrbench run MODEL --weights FILE`.",
    "help": "Show a page of the manual, or explain a notice, status, metric, term or command.",
    "doctor": "Check this machine for what disturbs or prevents measuring, and say how to fix it.",
}
"""The first line of the docstring of each verb's function, ``verb_command`` in ``cli/verb.py``."""


def load(verb: str) -> Callable[..., None]:
    """Import the function of a verb."""
    name = verb.replace("-", "_")
    module = import_module(f"esrbench.cli.{name}{'_' * keyword.iskeyword(name)}")
    function: Callable[..., None] = getattr(module, f"{name}_command")
    return function


def command_of(verb: str) -> Any:
    """The command of a verb, with its options."""
    alone = typer.Typer(add_completion=False, context_settings=HELP_OPTIONS, rich_markup_mode=None)
    alone.command(verb, cls=GroupedCommand)(load(verb))
    return typer.main.get_command(alone)


class Verbs(TyperGroup):
    """A group whose commands are stand-ins with a summary until one is invoked."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Replace the stand-in that was asked for by the command itself."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or name not in VERBS:
            return name, stand_in, rest
        command = command_of(name)
        complete(name, command)
        kinds = get_type_hints(load(name))
        paths = {each for each, kind in kinds.items() if kind in {Path, Path | None}}
        _require_paths(paths, command, rest)
        found, said = defaults_of(name, command.params, paths, VERBS)
        ctx.default_map = {name: found}
        if said and not {"--help", "-h", "--quiet"} & set(rest):
            print(line(said), file=sys.stderr)  # noqa: T201
        return name, command, rest

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write all verbs with their whole summaries."""
        with formatter.section("Commands"):
            write_unbroken(formatter, list(VERBS.items()))


def _require_paths(names: Collection[str], command: Any, words: list[str]) -> None:
    """Refuse an empty path, for example from an unset variable: it would mean this folder."""
    paths = {
        option
        for parameter in command.params
        if parameter.name in names
        for option in parameter.opts
    }
    for word, following in itertools.pairwise([*words, "."]):
        option, equals, value = word.partition("=")
        if option in paths and not (value if equals else following):
            message = f"{option}: expected a path, not an empty text"
            raise UsageError(message, advice="Leave the option out, or write . for this folder.")


def register_verbs(app: typer.Typer) -> None:
    """Give an application, whose group is ``Verbs``, a stand-in for each verb."""
    for name, summary in VERBS.items():
        app.command(name, help=summary)(_stand_in)


def _stand_in() -> None:
    """This never runs, because ``Verbs`` replaces it by the command."""
