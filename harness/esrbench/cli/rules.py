"""``esrbench rules``: every edition's rule, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from esrbench.cli.console import JsonOption
from esrbench.cli.tables import print_table
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.ranking.rule import Rule
    from esrbench.reports.table import Table


def rules_command(
    name: Annotated[
        str | None, typer.Argument(help="Edition to explain, or a rule in TOML.")
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Print a rule in TOML to start from.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the editions' rules, or explain one: tracks, formula, gate, ties, source."""
    if template:
        if name is not None or as_json:
            raise UsageError("--template prints TOML only", advice="Leave the name and --json out.")
        from esrbench.ranking.rules import TEMPLATE

        print(TEMPLATE, end="")  # noqa: T201
        return
    from esrbench.ranking.rules import RULES, get_rule

    table = _list(tuple(RULES.values())) if name is None else explain(get_rule(name))
    print_table(table, as_json=as_json)


def _document(rule: Rule) -> dict[str, Any]:
    """A rule as data, with its formulas and gates also in words."""
    from esrbench.ranking.published import official_names

    return rule.model_dump(mode="json") | {
        "formulas": {track.key: track.formula.describe(_references(rule)) for track in rule.tracks},
        "gates_in_words": [gate.describe() for gate in rule.gates],
        "published_entries": rule.name in official_names(),
    }


def _list(rules: Sequence[Rule]) -> Table:
    from esrbench.reports.table import Note, pairs

    lines = []
    for rule in rules:
        kinds = dict.fromkeys(track.formula.kind for track in rule.tracks)
        doubt = "" if rule.verified else " (unverified)"
        lines.append((rule.name, f"{rule.title}: {', '.join(kinds) or 'no total known'}{doubt}"))
    lines.append(("FILE.toml", "your own, from `esrbench rules --template`"))
    notes = (Note("`esrbench rules NAME` explains one."),)
    return pairs(lines, notes=notes, document=[_document(rule) for rule in rules])


def explain(rule: Rule) -> Table:
    """A rule in words, one fact a line."""
    from esrbench.reports.table import pairs

    lines = [
        (label if index == 0 else "", text)
        for label, texts in _facts(rule).items()
        for index, text in enumerate(texts)
    ]
    return pairs(lines, f"{rule.name}: {rule.title}", document=_document(rule))


def _facts(rule: Rule) -> dict[str, list[str]]:
    from esrbench.metrics import METRICS
    from esrbench.ranking.published import official_names

    tracks = [
        f"{track.title}: {track.formula.describe(_references(rule))}" for track in rule.tracks
    ]
    baseline: list[str] = []
    if rule.baseline is not None:
        figures = [
            f"{METRICS[key].label} {METRICS[key].show(value)}"
            for key, value in rule.baseline.values.items()
        ]
        psnr = [f"{value:.2f} dB on {title}" for title, value in rule.baseline.psnr.items()]
        entry = rule.baseline.entry
        here = f" (here: {entry})" if entry else " (not among the networks here)"
        baseline = [f"{rule.baseline.title}{here}: {'; '.join([*figures, *psnr])}"]
    height, width = rule.counted_input
    names = [f"{METRICS[metric].label} ({metric})" for metric in rule.ranked_metrics]
    return {
        "Tracks": tracks or ["none: how the metrics made one ranking is not known"],
        "Metrics": [", ".join(names) or "none"],
        "Counted at": [f"LR {height}x{width}, scale {', '.join(f'x{s}' for s in rule.scales)}"],
        "Gate": [gate.describe() for gate in rule.gates] or ["none"],
        "Ties": [rule.ties],
        "Baseline": baseline or ["none"],
        "Precision": [rule.precision] if rule.precision else [],
        "Published on": [rule.device],
        "Source": [rule.source],
        "Inferred": [*rule.inferred],
        "Verified": [] if rule.verified else ["no: see what was not seen at its source, below"],
        "Unverified": [*rule.unverified],
        "Footnotes": [*rule.footnotes],
        "Published": [f"`esrbench leaderboard --official {rule.name}`"]
        if rule.name in official_names()
        else ["no published entries are here"],
    }


def _references(rule: Rule) -> dict[str, float]:
    """The baseline's figures without PSNR, which could be taken for the interpolation's."""
    return {key: value for key, value in rule.published.items() if not key.startswith("psnr")}
