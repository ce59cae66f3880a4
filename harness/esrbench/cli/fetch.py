"""``esrbench fetch``: data sets and released weights into the cache."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_json,
    transient_progress,
)
from esrbench.cli.options import scales_option
from esrbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def fetch_command(
    names: Annotated[
        list[str],
        typer.Argument(help="Data sets, or the word `weights` followed by networks."),
    ],
    scale: Annotated[list[int] | None, scales_option("every one there is")] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            envvar="ESRBENCH_MIRROR",
            help="Folder or URL that holds the files under their names; tried first.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download and verify data sets or released weights: hash-checked, resumable."""
    kind, wanted = ("weights", names[1:]) if names[0] == "weights" else ("data", names)
    if not wanted:
        message = "fetch weights: which networks?"
        raise UsageError(message, advice="For example `esrbench fetch weights rfdn imdn`.")
    fetch = fetch_weights if kind == "weights" else fetch_data
    fetched = [path for name in wanted for path in fetch(name, scale, mirror)]
    if as_json:
        print_json([{"name": name, "path": path} for name, path in fetched])
        return
    for name, path in fetched:
        messages().print(f"{name}: {path}", markup=False)


def fetch_weights(name: str, scales: list[int] | None, mirror: str | None) -> list[tuple[str, str]]:
    """Fetch a network's released weights; return what was fetched and its path."""
    from esrbench.entries.weight_files import fetch_release

    registry = open_registry()
    descriptor = registry.get(name)
    released = [w for w in descriptor.weights if scales is None or w.scale in scales]
    if not released:
        at = f" at x{', x'.join(map(str, scales))}" if scales else ""
        having = [model.name for model in registry if model.weights]
        message = f"no weights are released for {name}{at}"
        raise UsageError(message, advice=f"There are some for: {', '.join(having)}.")
    fetched: list[tuple[str, str]] = []
    for weights in released:
        with _bar(weights.filename) as update:
            path = fetch_release(weights, mirror=mirror, progress=update)
        fetched.append((f"{name} x{weights.scale}", str(path)))
    return fetched


def fetch_data(name: str, scales: list[int] | None, mirror: str | None) -> list[tuple[str, str]]:
    """Fetch a data set; return its name and its path."""
    from esrbench.data.datasets import fetch_dataset, get_dataset

    dataset = get_dataset(name)
    with _bar(name) as update:
        path = fetch_dataset(name, tuple(scales or dataset.scales), mirror=mirror, progress=update)
    return [(name, str(path))]


@contextmanager
def _bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call it with bytes done and bytes in all."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with transient_progress(*columns) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)
