"""Completion in shells: names of networks, data sets, rules and runs. Nothing imports torch.

If no name fits, the shell completes files.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Names = Callable[[str], list[str]]


def networks(incomplete: str) -> list[str]:
    """Registered networks."""
    from esrbench.entries.registry import default_registry

    return [each.name for each in default_registry() if each.name.startswith(incomplete)]


def data_sets(incomplete: str) -> list[str]:
    """Declared data sets."""
    from esrbench.data.declarations import DATASETS

    return [name for name in DATASETS if name.startswith(incomplete)]


def rules(incomplete: str) -> list[str]:
    """Rules of editions."""
    from esrbench.ranking.rules import RULES

    return [name for name in RULES if name.startswith(incomplete)]


def run_ids(incomplete: str) -> list[str]:
    """Runs in the folder of results, by the names of their files."""
    from esrbench.runs.store import default_results

    return sorted(each.stem for each in (default_results() / "runs").glob(f"{incomplete}*.json"))


def shown(incomplete: str) -> list[str]:
    """What ``show`` explains."""
    return [*networks(incomplete), *data_sets(incomplete), *run_ids(incomplete)]


EVERYWHERE: Final[Mapping[str, Names]] = {
    "names": networks,
    "candidate": networks,
    "against": networks,
    "reference": networks,
    "data": data_sets,
    "rule": rules,
    "official": rules,
}
"""Completions by the name of a parameter."""
OF_VERB: Final[Mapping[tuple[str, str], Names]] = {
    ("run", "baseline"): networks,
    ("race", "baseline"): networks,
    ("export", "name"): networks,
    ("train", "name"): networks,
    ("show", "name"): shown,
    ("runs", "names"): run_ids,
    ("fetch", "names"): lambda text: [*data_sets(text), *networks(text)],
    ("rules", "name"): rules,
}
"""Completions by the names of a verb and its parameter."""


def complete(verb: str, command: Any) -> None:
    """Have the parameters of a verb's command completed."""
    for parameter in command.params:
        names = OF_VERB.get((verb, parameter.name)) or EVERYWHERE.get(parameter.name)
        if names is not None:
            # Typer takes a completion only where a parameter is declared, once for all verbs.
            parameter._custom_shell_complete = partial(_answer, names)  # noqa: SLF001


def _answer(names: Names, _ctx: Any, _parameter: Any, incomplete: str) -> list[str]:
    return names(incomplete)
