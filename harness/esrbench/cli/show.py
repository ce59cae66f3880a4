"""``esrbench show``: one network, data set or stored run in full."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from esrbench.cli.console import JsonOption, open_registry
from esrbench.cli.options import ResultsOption, parse_size
from esrbench.cli.tables import print_table
from esrbench.errors import UsageError
from esrbench.runs.documents import read_any
from esrbench.runs.store import Store, default_results


def show_command(
    name: Annotated[str, typer.Argument(help="Network, data set, run id or path of a run record.")],
    folder: ResultsOption = None,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Show a network block by block, this deep.")
    ] = None,
    scale: Annotated[
        int | None, typer.Option(help="Upscaling factor, with --depth.", show_default="largest")
    ] = None,
    input_size: Annotated[str, typer.Option(help="LR size, with --depth.")] = "256x256",
    as_json: JsonOption = False,
) -> None:
    """Show what is known of one network, data set or run; --json leaves nothing out."""
    from esrbench.reports.details import blocks, details

    store = Store(folder or default_results())
    subject = find(name, store)
    if depth is not None:
        table = blocks(subject, scale, depth, parse_size(input_size))
    else:
        table = details(subject, store)
    print_table(table, as_json=as_json)


def find(name: str, store: Store) -> BaseModel:
    """The network, data set or run with a name.

    Raises:
        UsageError: nothing has that name.
    """
    from esrbench.data.datasets import dataset_names, get_dataset
    from esrbench.entries.registry import resolve_name

    registry = open_registry()
    if Path(name).is_dir():
        name = resolve_name(registry, name)
    if name in registry or name in registry.broken:
        return registry.get(name)
    if name in dataset_names():
        return get_dataset(name)
    for path in (Path(name), store.runs / f"{name}.json", store.races / f"{name}.json"):
        if path.is_file():
            return read_any(path)
    known = ", ".join([*(model.name for model in registry), *dataset_names()])
    message = f"nothing is called {name!r}: no network, data set, run or race in {store.folder}"
    raise UsageError(message, advice=f"Known are: {known}.")
