"""``esrbench show``: one network, data set or stored run in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from harness.cli.console import JsonOption, print_json, print_notices, results
from harness.errors import UsageError
from harness.store import Store, default_results, read_record


def show_command(
    name: Annotated[str, typer.Argument(help="Network, data set, run id or path of a run record.")],
    folder: Annotated[
        Path | None,
        typer.Option("--results", help="Folder of run records.", show_default="results"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything known of one network, data set or run."""
    subject = find(name, Store(folder or default_results()))
    if as_json:
        print_json(subject.model_dump(mode="json"))
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows_of(subject):
        table.add_row(escape(key), escape(value))
    results().print(table)


def find(name: str, store: Store) -> BaseModel:
    """The network, data set or run of a name.

    Raises:
        UsageError: nothing has that name.
    """
    from harness.catalog.datasets import dataset_names, get_dataset
    from harness.catalog.registry import default_registry

    registry = default_registry()
    print_notices(registry.notices)
    if name in registry:
        return registry.get(name)
    if name in dataset_names():
        return get_dataset(name)
    for path in (Path(name), store.runs / f"{name}.json"):
        if path.is_file():
            return read_record(path)
    try:
        registry.get(name)
    except UsageError as error:
        message = f"nothing is called {name!r}: no network, data set or run in {store.runs}"
        raise UsageError(message, advice=error.advice) from None
    raise AssertionError(name)


def rows_of(subject: BaseModel) -> list[tuple[str, str]]:
    """Flat key and value lines of a record; runs show their values first."""
    from harness.metrics import METRICS
    from harness.records import Absent, RunRecord

    rows: list[tuple[str, str]] = []
    skipped: set[str] = set()
    if isinstance(subject, RunRecord):
        skipped = {"values", "image_latencies", "quality", "log_tail"}
        for key, value in subject.values.items():
            metric = METRICS[key]
            if isinstance(value, Absent):
                text = f"absent ({value.kind}): {value.reason}"
            else:
                text = metric.format(value.value)
                if value.interval is not None:
                    low, high = value.interval.low, value.interval.high
                    text += f" [{metric.format(low)}, {metric.format(high)}]"
                    text += f" at {value.interval.confidence:.0%}"
            rows.append((metric.heading, text))
    document = subject.model_dump(mode="json", exclude=skipped)
    return [*rows, *flatten(document)]


def flatten(document: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Dotted keys and rendered leaves of a JSON document, empty ones left out."""
    if isinstance(document, dict):
        items = [(f"{prefix}.{key}" if prefix else key, value) for key, value in document.items()]
    elif isinstance(document, list) and any(isinstance(item, dict | list) for item in document):
        items = [(f"{prefix}[{index}]", value) for index, value in enumerate(document)]
    elif isinstance(document, list):
        return [(prefix, ", ".join(str(item) for item in document))] if document else []
    elif document is None or document == "":
        return []
    else:
        return [(prefix, str(document))]
    return [row for key, value in items for row in flatten(value, key)]
