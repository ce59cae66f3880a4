"""``esrbench list``: networks, data sets, metrics and rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from esrbench.cli.console import (
    JsonOption,
    open_registry,
    print_by_kind,
    print_notices,
    progress_bar,
)
from esrbench.cli.tables import FormatOption, print_table
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.records import Complexity
    from esrbench.reports.table import Table


def list_command(
    what: Annotated[
        Literal["models", "data", "metrics", "rules"], typer.Argument(help="What to list.")
    ] = "models",
    long: Annotated[
        bool,
        typer.Option(
            "--long", help="Add the parameters and FLOPs of every network, at its largest scale."
        ),
    ] = False,
    table_format: FormatOption = "terminal",
    as_json: JsonOption = False,
) -> None:
    """List networks, data sets, metrics or rules."""
    if long and what != "models":
        raise UsageError("--long is for models only", advice="Leave --long out.")
    records = _counted_models() if long else LISTINGS[what]()
    print_table(listed(records), table_format, as_json=as_json)


def listed(records: Sequence[Mapping[str, Any]]) -> Table:
    """A table of records, with a column for each field."""
    from esrbench.reports.table import Heading, Section, Table, plain

    # A field that no record has gets no column: without submissions there are no teams.
    columns = [
        column
        for column in (records[0] if records else ())
        if column not in OPTIONAL or any(record.get(column) for record in records)
    ]
    headings = tuple(
        Heading(column.replace("_", " "), align="right")
        if type(records[0][column]) is int
        else Heading(column.replace("_", " "), prose=column != "name")
        for column in columns
    )
    rows = tuple(tuple(plain(_text(each.get(column))) for column in columns) for each in records)
    return Table(headings=headings, sections=(Section(rows),), records=records)


OPTIONAL = ("team", "missing_requirements")


def _models() -> list[dict[str, Any]]:
    from esrbench.entries.submissions import missing_requirements, requirements_notice

    registry = open_registry()
    print_by_kind(
        (model.name, notice) for model in registry if (notice := requirements_notice(model))
    )
    return [
        {
            "name": model.name,
            "team": model.team,
            "scales": list(model.scales),
            "released_weights": _weights(model),
            "missing_requirements": list(missing_requirements(model)),
            "origin": model.origin,
            "summary": model.summary,
        }
        for model in registry
    ]


def _weights(model: ModelDescriptor) -> list[str]:
    from esrbench.entries.weight_files import cached_release

    return [
        *(f"x{weights.scale} (submitted)" for weights in model.submitted),
        *(
            f"x{weights.scale}{' (cached)' if cached_release(weights) else ''}"
            for weights in model.weights
        ),
    ]


def _counted_models() -> list[dict[str, Any]]:
    from esrbench.records import Complexity
    from esrbench.runs.inspection import count_models

    models = [(model, max(model.scales)) for model in open_registry()]
    rows: list[dict[str, Any]] = []
    with progress_bar() as progress:
        counted = progress.track(
            zip(models, count_models(models), strict=True),
            total=len(models),
            description="counting",
        )
        for (model, scale), found in counted:
            row: dict[str, Any] = {"name": model.name, "scale": scale}
            if isinstance(found, Complexity):
                row |= {"params": found.params} | _counts(found)
            else:
                row |= {"params": f"failed: {found.reason}"}
            rows.append(row)
    return rows


def _counts(complexity: Complexity) -> dict[str, Any]:
    """Figures of every counter; None if it could not count."""
    rule = complexity.counters.get("ntire2022")
    return {
        **{f"macs_{name}": getattr(c, "macs", None) for name, c in complexity.counters.items()},
        "activations": getattr(rule, "activations", None),
        "conv_calls": getattr(rule, "conv_calls", None),
        "predicted_peak_bytes": getattr(complexity.predicted_memory, "peak_bytes", None),
    }


def _data() -> list[dict[str, Any]]:
    from esrbench.data.datasets import dataset_names, get_dataset

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
    from esrbench.metrics import METRICS, PLUGIN_NOTICES

    print_notices(PLUGIN_NOTICES)
    return [
        {
            "name": metric.key,
            "heading": metric.heading,
            "better": metric.better,
            "deterministic": metric.portable,
        }
        for metric in METRICS.values()
    ]


def _rules() -> list[dict[str, Any]]:
    from esrbench.ranking.rules import RULES

    return [
        {
            "name": rule.name,
            "title": rule.title,
            "tracks": [track.title for track in rule.tracks],
            "verified": rule.verified,
            "source": rule.source,
        }
        for rule in RULES.values()
    ]


LISTINGS = {"models": _models, "data": _data, "metrics": _metrics, "rules": _rules}


def _text(value: object) -> str:
    from esrbench.reports.table import MISSING

    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return MISSING if value is None else str(value)
