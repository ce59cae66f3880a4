"""One network, data set, run or race in full."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.weight_files import cached_release
from esrbench.errors import UsageError
from esrbench.metrics import METRICS, MIB, Findings
from esrbench.plaintext import plural
from esrbench.ranking.stability import FEWEST_PROCESSES, processes_of
from esrbench.records import (
    Absent,
    ImageScore,
    Latency,
    LatencySamples,
    Quality,
    RaceRecord,
    RunRecord,
    outermost,
)
from esrbench.reports.table import MISSING, Heading, Note, Section, Table, pairs, plain
from esrbench.runtimes import times_by_size
from esrbench.statistics import half_width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pydantic import BaseModel

    from esrbench.metrics import Metric
    from esrbench.records import Block, PairedEstimate, Value
    from esrbench.runs.store import Store

LOG_LINES = 15
"""Number of last lines of a failed run's output that are shown."""


def blocks(subject: BaseModel, scale: int | None, depth: int, input_size: tuple[int, int]) -> Table:
    """The cost of each block of a network.

    Args:
        subject: descriptor of the network.
        scale: upscaling factor; its largest if None.
        depth: depth of the deepest modules to show.
        input_size: LR height and width.

    Raises:
        UsageError: not a network, or a scale at which it is not defined.
    """
    from esrbench.runs.inspection import blocks_of

    if not isinstance(subject, ModelDescriptor):
        raise UsageError("--depth shows networks only", advice="Leave --depth out.")
    scale = max(subject.scales) if scale is None else scale
    found = blocks_of(subject, scale, depth=depth, input_size=input_size)
    height, width = input_size
    return blocks_table(found, f"{subject.name} x{scale} at LR {height}x{width}")


def blocks_table(found: Sequence[Block], caption: str) -> Table:
    """Blocks of a network, one row each; a block includes the blocks within it."""
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
        for block in found
    )
    return Table(
        headings=(
            Heading("block"),
            Heading("kind"),
            *(Heading(text, align="right") for text in figures),
        ),
        sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),),
        caption=caption,
        records=[block.model_dump(mode="json") for block in found],
    )


OUTSIDE: Final = "outside of blocks"
WORTH_SHOWING: Final = 0.005
"""Work outside of all blocks is shown from this share of the total on."""


def block_shares(
    found: Sequence[Block], costs: Sequence[Callable[[Block], int]]
) -> dict[str, tuple[float, ...]]:
    """Shares of the outermost blocks, and of work outside of them, in each cost of a network.

    Args:
        found: blocks of a record; the network comes first.
        costs: functions that read each cost of a block.
    """
    if not found:
        return {}
    totals = [cost(found[0]) for cost in costs]
    shares = {
        block.name: tuple(
            cost(block) / total if total else 0.0 for cost, total in zip(costs, totals, strict=True)
        )
        for block in outermost(found)
    }
    outside = tuple(
        1 - sum(each[at] for each in shares.values()) if total else 0.0
        for at, total in enumerate(totals)
    )
    return shares | ({OUTSIDE: outside} if shares and max(outside) >= WORTH_SHOWING else {})


def details(subject: BaseModel, store: Store) -> Table:
    """A network, data set, run or race, one fact a line, with claims beside stored figures."""
    return pairs([*_lines_of(subject, store)], document=subject.model_dump(mode="json"))


SCORES: Final = {key: metric for key, metric in METRICS.items() if metric.source == "quality"}
"""Metrics that images may have."""


def scores_table(record: RunRecord) -> Table:
    """The scores of every image of a run, and their means below."""
    means = {key: record.value(key) for key in SCORES}
    table = _scores(record.quality, means)
    measured = {key: record.measured(key) for key in SCORES if key in table.plain_records()[0]}
    return replace(
        table,
        caption=f"{record.entry.name} on {record.data.title} x{record.data.scale}",
        records=[*table.plain_records(), {"image": "mean", **measured}],
        document=record.model_dump(mode="json"),
    )


def quality_table(quality: Quality) -> Table:
    """The scores of every image, and their means below; the records have only images."""
    findings = Findings(quality=quality)
    return _scores(quality, {key: metric.extract(findings) for key, metric in SCORES.items()})


def _scores(quality: Quality | Absent, means: Mapping[str, Value | Absent]) -> Table:
    images = () if isinstance(quality, Absent) else quality.images
    given = {*ImageScore.model_fields, *(key for image in images for key in image.others)}
    scores = {key: metric for key, metric in SCORES.items() if key in given}
    means = {key: value for key, value in means.items() if key in scores}
    found = [{**dict(image), **image.others} for image in images]
    rows = [
        (image["image"], *(_score(metric, image.get(key)) for key, metric in scores.items()))
        for image in found
    ]
    documents = [
        {
            key: None if isinstance(image.get(key), Absent) else image.get(key)
            for key in ("image", *scores)
        }
        for image in found
    ]
    mean = (
        "mean",
        *(
            MISSING if isinstance(value, Absent) else METRICS[key].format(value.value)
            for key, value in means.items()
        ),
    )
    absent = {value.reason: None for value in means.values() if isinstance(value, Absent)}
    notes = [] if isinstance(quality, Absent) else [f"{quality.definition}."]
    return Table(
        headings=(
            Heading("image"),
            *(Heading(metric.heading, align="right") for metric in scores.values()),
        ),
        sections=tuple(
            Section(tuple(tuple(map(plain, row)) for row in part)) for part in (rows, [mean])
        ),
        notes=tuple(map(Note, [*notes, *(f"No mean: {reason}." for reason in absent)])),
        records=documents,
        label="tab:scores",
    )


def _score(metric: Metric, value: float | Absent | None) -> str:
    """A score as text. None stands for the infinite PSNR of an image without error."""
    if isinstance(value, Absent):
        return MISSING
    return "\N{INFINITY}" if value is None else metric.format(value)


def _lines_of(subject: BaseModel, store: Store) -> Iterator[tuple[str, str]]:
    """Labels and texts to show for a network, data set or run."""
    left_out: set[str] = set()
    if isinstance(subject, ModelDescriptor):
        yield from _model_lines(subject)
        yield from _published_lines(subject, store)
        return
    if isinstance(subject, RunRecord):
        yield from _value_lines(subject)
        yield from _latency_lines(subject)
        left_out = {"values", "latency", "quality", "log_tail"}
    elif isinstance(subject, RaceRecord):
        left_out = {"processes"}
    yield from flatten(subject.model_dump(mode="json", exclude=left_out))
    if isinstance(subject, RunRecord) and subject.log_tail.strip():
        log = subject.log_tail.strip().split("\n")[-LOG_LINES:]
        yield from zip(["end of the log", *[""] * (len(log) - 1)], log, strict=True)


def _model_lines(model: ModelDescriptor) -> Iterator[tuple[str, str]]:
    shown = {"name", "team", "summary", "scales", "factory", "arguments", "options", "role"}
    shown |= {"min_lr_size", "prepare", "deploy", "licence", "requirements", "origin", "folder"}
    if model.folder is not None:
        shown |= {"scale_argument", "precision", "pad_multiple", "tile", "tile_overlap"}
    yield from flatten(model.model_dump(mode="json", include=shown))
    if model.paper:
        yield "paper", model.paper.reference
    for weights in (*model.submitted, *model.weights):
        text = f"{weights.filename}, {weights.bytes:,} bytes, data range {weights.data_range:g}; "
        text += f"ignores {', '.join(weights.ignore)}; " if weights.ignore else ""
        if weights in model.submitted:
            yield f"weights x{weights.scale}", f"{text}submitted"
            continue
        cached = cached_release(weights)
        state = f"in {cached}" if cached else f"not cached: esrbench fetch weights {model.name}"
        yield f"weights x{weights.scale}", f"{text}{state}; licence: {weights.licence}"
        yield f"weights x{weights.scale} from", weights.url or "nowhere"


def _published_lines(model: ModelDescriptor, store: Store) -> Iterator[tuple[str, str]]:
    """Published figures of a network.

    A submission's figures are claims, and stand beside the newest record that measured them.
    """
    claimed = model.folder is not None
    records = store.load()[0] if claimed and model.published else []
    own = [record for record in records if record.entry.name == model.name]
    own.sort(key=lambda record: record.created, reverse=True)
    for figure in model.published:
        metric = METRICS[figure.metric]
        data = f" on {figure.data}" if figure.data else ""
        text = f"{metric.format(figure.value)}{data} ({figure.source})"
        measured = (
            f"{metric.format(value)} measured on {record.data.name}"
            for record in own
            if record.entry.scale == figure.scale
            and figure.data in {None, record.data.name}
            and (value := record.measured(figure.metric)) is not None
        )
        if claimed:
            text += f"; {next(measured, 'not measured yet')}"
        what = "claimed" if claimed else "published"
        yield f"{what} x{figure.scale} {metric.heading}", text


def _value_lines(record: RunRecord) -> Iterator[tuple[str, str]]:

    for key, metric in METRICS.items():
        value = record.value(key)
        if isinstance(value, Absent):
            text = f"absent ({value.kind}): {value.reason}"
        else:
            text = metric.format(value.value)
            if value.interval is not None:
                low, high = value.interval.low, value.interval.high
                text += f" [{metric.format(low)}, {metric.format(high)}]"
                text += f" at {value.interval.confidence:.1%}"
                if metric.noisy and processes_of(record) < FEWEST_PROCESSES:
                    text += ", over the rounds of this process only"
        yield metric.heading, text


def _latency_lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Regime, processes and spread of the times, without the samples."""
    latency = record.latency
    if not isinstance(latency, Latency):
        yield "latency", f"absent ({latency.kind}): {latency.reason}"
        return
    yield "latency regime", f"{latency.regime}, order seed {latency.order_seed}"
    for each in latency.replicates:
        text = f"place {each.position + 1} of {len(latency.entries)}"
        text += f", CPUs {', '.join(map(str, each.cpus))}" if each.cpus else ""
        if isinstance(each.fixed, LatencySamples):
            text += f", {plural(len(each.fixed.warmup_seconds), 'warm-up')}"
            text += f" and {plural(len(each.fixed.seconds), 'round')} at the fixed input"
            text += f" (ended by {each.fixed.stopped_by})"
        yield f"latency process {each.index + 1}", text
    for size in times_by_size(latency):
        height, width = size.lr_size
        text = f"median {size.median * 1e3:.2f} ms, 5 % below {size.p5 * 1e3:.2f}, "
        text += f"5 % above {size.p95 * 1e3:.2f}; "
        text += f"{plural(size.images, 'image')}, {plural(size.rounds, 'forward')}"
        yield f"latency at LR {height}x{width}", text


def flat_table(record: BaseModel) -> Table:
    """A record, one line for each field that is not empty."""
    document = record.model_dump(mode="json")
    return pairs([*flatten(document)], document=document)


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


def race_lines(record: RaceRecord) -> Iterator[str]:
    """The verdict in one sentence, and the figures behind it."""
    yield race_sentence(record)
    ours, theirs = _names(record)
    yield f"  {ours} / {theirs}: {_figures(record.estimate)}"
    yield f"  self-check, {theirs} / its copy: {_figures(record.self_check)}"
    timed = f"{record.timed_pairs} pairs in {len(record.processes)} fresh processes"
    height, width = record.protocol.counted_input
    elsewhere = f", in {record.ran_with.describe()}" if record.ran_with else ""
    yield (
        f"  timed: {timed}, {record.duration_seconds:.0f} s, LR {height}x{width}, "
        f"device {record.protocol.device}, threads {record.environment.threads}{elsewhere}"
    )


def race_sentence(record: RaceRecord) -> str:
    """The verdict in words, with its reason."""
    ours, theirs = _names(record)
    decision = f"{record.design.decision:.1%}"
    if record.verdict == "inconclusive" or isinstance(record.estimate, Absent):
        return f"Inconclusive: {record.reason}."
    if record.verdict == "unchanged":
        said = f"{ours} is as fast as {theirs}, within {decision}"
    else:
        change = abs(record.estimate.ratio - 1)
        said = f"{ours} is {change:.1%} {record.verdict} than {theirs}, more than {decision}"
    return f"{record.verdict.capitalize()}: {said}; {record.reason}."


def _names(record: RaceRecord) -> tuple[str, str]:
    ours, theirs = record.candidate.name, record.baseline.name
    mine, other = record.protocol.forward.backend, record.baseline_backend
    if other is not None and other != mine:
        return f"{ours} by {mine}", f"{theirs} by {other}"
    return (ours, theirs) if ours != theirs else (f"{ours} (candidate)", f"{theirs} (baseline)")


def _figures(estimate: PairedEstimate | Absent) -> str:

    if isinstance(estimate, Absent):
        return f"no figure: {estimate.reason}"
    interval = estimate.interval
    return (
        f"ratio {estimate.ratio:.4f} [{interval.low:.4f}, {interval.high:.4f}] "
        f"at {interval.confidence:.1%}, half-width {half_width(interval):.2%}, "
        f"{estimate.pairs} pairs"
    )
