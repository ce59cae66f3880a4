"""``esrbench show``: one network, data set or stored run in full."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel

from esrbench.cli.console import JsonOption, open_registry
from esrbench.cli.options import ResultsOption, parse_size
from esrbench.cli.tables import print_table
from esrbench.errors import UsageError
from esrbench.metrics import MIB
from esrbench.runs.documents import read_any
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.records import RunRecord
    from esrbench.reports.table import Table


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
    store = Store(folder or default_results())
    subject = find(name, store)
    if depth is not None:
        table = _blocks(subject, scale, depth, parse_size(input_size))
    else:
        from esrbench.reports.table import pairs

        lines = [*lines_of(subject), *_claim_lines(subject, store)]
        table = pairs(lines, document=subject.model_dump(mode="json"))
    print_table(table, as_json=as_json)


def _blocks(
    subject: BaseModel, scale: int | None, depth: int, input_size: tuple[int, int]
) -> Table:
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.reports.table import Heading, Section, Table, plain
    from esrbench.runs.inspection import blocks_of

    if not isinstance(subject, ModelDescriptor):
        raise UsageError("--depth shows networks only", advice="Leave --depth out.")
    scale = max(subject.scales) if scale is None else scale
    blocks = blocks_of(subject, scale, depth=depth, input_size=input_size)
    height, width = input_size
    figures = ("output", "params", "MACs [G]", "acts [M]", "allocated [MiB]")
    rows = (
        (
            block.name,
            block.kind,
            "x".join(map(str, block.output_shape)),
            f"{block.params:,}",
            f"{block.macs / 1e9:.3f}",
            f"{block.activations / 1e6:.2f}",
            f"{block.allocated_bytes / MIB:.1f}",
        )
        for block in blocks
    )
    return Table(
        headings=(
            Heading("block"),
            Heading("kind"),
            *(Heading(text, align="right") for text in figures),
        ),
        sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),),
        caption=f"{subject.name} x{scale} at LR {height}x{width}",
        records=[block.model_dump(mode="json") for block in blocks],
    )


def find(name: str, store: Store) -> BaseModel:
    """The network, data set or run of a name.

    Raises:
        UsageError: nothing has that name.
    """
    from esrbench.data.datasets import dataset_names, get_dataset

    registry = open_registry()
    if name in registry:
        return registry.get(name)
    if name in dataset_names():
        return get_dataset(name)
    for path in (Path(name), store.runs / f"{name}.json", store.races / f"{name}.json"):
        if path.is_file():
            return read_any(path)
    known = ", ".join([*(model.name for model in registry), *dataset_names()])
    message = f"nothing is called {name!r}: no network, data set, run or race in {store.folder}"
    raise UsageError(message, advice=f"Known are: {known}.")


def lines_of(subject: BaseModel) -> Iterator[tuple[str, str]]:
    """Labels and texts to show for a network, data set or run."""
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.records import RaceRecord, RunRecord

    if isinstance(subject, ModelDescriptor):
        yield from _model_lines(subject)
    elif isinstance(subject, RunRecord):
        yield from _value_lines(subject)
        yield from _latency_lines(subject)
        skipped = {"values", "latency", "quality"}
        yield from flatten(subject.model_dump(mode="json", exclude=skipped))
    elif isinstance(subject, RaceRecord):
        yield from flatten(subject.model_dump(mode="json", exclude={"processes"}))
    else:
        yield from flatten(subject.model_dump(mode="json"))


def _model_lines(model: ModelDescriptor) -> Iterator[tuple[str, str]]:
    from esrbench.entries.weight_files import cached_release
    from esrbench.metrics import METRICS

    shown = {"name", "team", "summary", "scales", "factory", "options", "min_lr_size", "role"}
    shown |= {"prepare", "licence", "requirements", "origin", "folder"}
    if model.folder is not None:
        shown |= {"precision", "pad_multiple", "tile", "tile_overlap"}
    yield from flatten(model.model_dump(mode="json", include=shown))
    if model.paper:
        paper = model.paper
        link = f", {paper.url}" if paper.url else ""
        yield "paper", f"{paper.title}. {paper.venue}, {paper.year}{link}"
    for weights in model.submitted:
        text = f"{weights.filename}, {weights.bytes:,} bytes, white is {weights.data_range:g}"
        yield f"weights x{weights.scale}", f"{text}; submitted"
    for weights in model.weights:
        cached = cached_release(weights)
        state = f"in {cached}" if cached else f"not cached: esrbench fetch weights {model.name}"
        text = f"{weights.filename}, {weights.bytes:,} bytes, white is {weights.data_range:g}; "
        yield f"weights x{weights.scale}", f"{text}{state}; licence: {weights.licence}"
        yield f"weights x{weights.scale} from", weights.url or "nowhere"
    if model.folder is not None:
        return  # its claims are shown beside what was measured
    for figure in model.published:
        metric = METRICS[figure.metric]
        data = f" on {figure.data}" if figure.data else ""
        shown_value = f"{metric.format(figure.value)}{data} ({figure.source})"
        yield f"published x{figure.scale} {metric.heading}", shown_value


def _claim_lines(subject: BaseModel, store: Store) -> Iterator[tuple[str, str]]:
    """What a submission claims, beside the newest record that measured it."""
    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.metrics import METRICS

    if not isinstance(subject, ModelDescriptor) or subject.folder is None:
        return
    records, _ = store.load() if subject.published else ([], ())
    own = [record for record in records if record.entry.name == subject.name]
    own.sort(key=lambda record: record.created, reverse=True)
    for figure in subject.published:
        metric = METRICS[figure.metric]
        measured = (
            f"{metric.format(value)} measured on {record.data.name}"
            for record in own
            if record.entry.scale == figure.scale
            and figure.data in {None, record.data.name}
            and (value := record.measured(figure.metric)) is not None
        )
        data = f" on {figure.data}" if figure.data else ""
        text = f"{metric.format(figure.value)}{data} ({figure.source}); "
        text += next(measured, "not measured yet")
        yield f"claimed x{figure.scale} {metric.heading}", text


def _value_lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    from esrbench.metrics import METRICS
    from esrbench.ranking.stability import FEWEST_PROCESSES, processes_of
    from esrbench.records import Absent

    for key, value in record.values.items():
        metric = METRICS[key]
        if isinstance(value, Absent):
            text = f"absent ({value.kind}): {value.reason}"
        else:
            text = metric.format(value.value)
            if value.interval is not None:
                low, high = value.interval.low, value.interval.high
                text += f" [{metric.format(low)}, {metric.format(high)}]"
                text += f" at {value.interval.confidence:.1%}"
                if metric.noisy and processes_of(record) < FEWEST_PROCESSES:
                    text += ", of the rounds of this process alone"
        yield metric.heading, text


def _latency_lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Regime, processes and spread of the times, without the samples."""
    from esrbench.records import Latency, LatencySamples
    from esrbench.runtimes import times_by_size

    latency = record.latency
    if not isinstance(latency, Latency):
        yield "latency", f"absent ({latency.kind}): {latency.reason}"
        return
    yield "latency regime", f"{latency.regime}, order seed {latency.order_seed}"
    for each in latency.replicates:
        text = f"place {each.position + 1} of {len(latency.entries)}"
        text += f", CPUs {', '.join(map(str, each.cpus))}" if each.cpus else ""
        if isinstance(each.fixed, LatencySamples):
            text += f", {len(each.fixed.warmup_seconds)} warm-ups"
            text += f" and {len(each.fixed.seconds)} rounds at the fixed input"
            text += f" (ended by {each.fixed.stopped_by})"
        yield f"latency process {each.index + 1}", text
    for size in times_by_size(latency):
        height, width = size.lr_size
        text = f"median {size.median * 1e3:.2f} ms, 5 % below {size.p5 * 1e3:.2f}, "
        text += f"5 % above {size.p95 * 1e3:.2f}; {size.images} images, {size.rounds} forwards"
        yield f"latency at LR {height}x{width}", text


def flatten(document: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and rendered leaves of a JSON document, empty ones left out."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else key)
    elif isinstance(document, list) and any(isinstance(item, dict | list) for item in document):
        for index, value in enumerate(document):
            yield from flatten(value, f"{prefix}[{index}]")
    elif isinstance(document, list):
        if document:
            yield prefix, ", ".join(str(item) for item in document)
    elif document not in {None, ""}:
        yield prefix, str(document)
