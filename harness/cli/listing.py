"""``esrbench list``: what is there to measure, measure on, and rank by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from harness.cli.console import JsonOption, print_json, print_notices, results


def list_command(
    what: Annotated[
        Literal["models", "data", "metrics", "rules"], typer.Argument(help="What to list.")
    ] = "models",
    as_json: JsonOption = False,
) -> None:
    """List networks, data sets, metrics or rules."""
    rows = LISTINGS[what]()
    if as_json:
        print_json(rows)
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for column in rows[0] if rows else ():
        table.add_column(column.replace("_", " "), no_wrap=column == "name")
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    results().print(table)


def _models() -> list[dict[str, Any]]:
    from harness.catalog.networks import cached_release
    from harness.catalog.registry import default_registry

    registry = default_registry()
    print_notices(registry.notices)
    return [
        {
            "name": model.name,
            "scales": list(model.scales),
            "released_weights": [
                f"x{weights.scale}{' (cached)' if cached_release(weights) else ''}"
                for weights in model.weights
            ],
            "origin": model.origin,
            "summary": model.summary,
        }
        for model in registry
    ]


def _data() -> list[dict[str, Any]]:
    from harness.catalog.datasets import dataset_names, get_dataset

    datasets = [get_dataset(name) for name in dataset_names()]
    return [
        {
            "name": data.name,
            "images": data.count,
            "scales": list(data.scales),
            "title": data.title,
            "origin": data.origin,
        }
        for data in datasets
    ]


def _metrics() -> list[dict[str, Any]]:
    from harness.metrics import METRICS

    return [
        {
            "name": metric.key,
            "heading": metric.heading,
            "better": metric.better,
            "deterministic": metric.deterministic,
        }
        for metric in METRICS.values()
    ]


def _rules() -> list[dict[str, Any]]:
    from harness.ranking.rules import RULES

    return [
        {
            "name": rule.name,
            "title": rule.title,
            "tracks": [track.title for track in rule.tracks],
            "source": rule.source,
        }
        for rule in RULES.values()
    ]


LISTINGS = {"models": _models, "data": _data, "metrics": _metrics, "rules": _rules}


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value)
