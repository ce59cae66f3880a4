"""What the page shows, part by part, from a leaderboard and its records; no HTML is made here."""

from __future__ import annotations

import base64
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from esrbench.data.crops import read_crops
from esrbench.metrics import METRICS
from esrbench.protocol import Protocol
from esrbench.ranking.selection import differences
from esrbench.records import Absent, Latency, LatencySamples, Quality, Value
from esrbench.reports.details import flatten
from esrbench.reports.page.charts import Point, interval_of
from esrbench.reports.table import MISSING, Heading, Section, Table, pairs, plain
from esrbench.runtimes import times_by_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.ranking.board import Leaderboard, LeaderboardEntry
    from esrbench.records import RunRecord
    from esrbench.reports.table import Tone
    from esrbench.runs.store import Store

MOST_COMPARED: Final = 12
"""Columns of entries in the table of images; a page is no wider."""
MOST_CROP_BYTES: Final = 8_000_000
"""Of all crops on a page, as they are embedded."""
MOST_TIMED: Final = 60
"""Entries whose raw times are drawn."""
COSTS: Final = (
    "params",
    "macs_ntire2022",
    "macs_fvcore",
    "macs_aten",
    "activations_ntire2022",
    "conv_calls_ntire2022",
    "effective_constants",
    "predicted_peak_bytes",
    "weights_bytes",
)
OPTIONS: Final[Mapping[str, str]] = {
    "device": "--device",
    "threads": "--threads",
    "seed": "--seed",
    "forward.precision": "--precision",
    "latency.processes": "--processes",
    "latency.warmup_rounds": "--warmup",
    "latency.min_rounds": "--min-rounds",
    "latency.max_rounds": "--rounds",
    "latency.target_half_width": "--half-width",
    "latency.budget_seconds": "--budget",
}
"""Options of ``esrbench run`` by the field of the protocol that they set."""

Claims = dict[str, dict[str, float]]
"""Figures that authors state, in base units, by entry and metric."""


@dataclass(frozen=True, slots=True)
class Times:
    """Raw times of one entry.

    Attributes:
        name: of the entry.
        fixed: seconds of the rounds at the fixed input, a process each.
        warmup: of the warm-up forwards before them, likewise.
        images: medians of the images, smallest image first, likewise.
        facts: sizes, cold starts and spreads in words.
    """

    name: str
    fixed: tuple[tuple[float, ...], ...]
    warmup: tuple[tuple[float, ...], ...]
    images: tuple[tuple[float, ...], ...]
    facts: Table


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop as one entry shows it, or HR or LR.

    Attributes:
        label: name of the entry, ``HR`` or ``LR``.
        caption: scores of the whole image.
        source: as a ``data:`` URI.
    """

    label: str
    caption: str
    source: str


@dataclass(frozen=True, slots=True)
class CropPictures:
    """The same crop by all.

    Attributes:
        title: image and place.
        height: in HR pixels.
        width: likewise.
        pictures: HR and LR first, then entries in the order of the table.
    """

    title: str
    height: int
    width: int
    pictures: tuple[Picture, ...]


def rows_of(board: Leaderboard) -> tuple[LeaderboardEntry, ...]:
    """All rows in the order of the table."""
    return (*board.ranked, *board.unranked)


def own_records(board: Leaderboard, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records that the board shows, in the order of its rows."""
    by_id = {record.run_id: record for record in records}
    return [by_id[row.run_id] for row in rows_of(board) if row.run_id in by_id]


def chart_metrics(board: Leaderboard) -> list[Metric]:
    """Metrics that at least two entries have, in table order."""
    rows = rows_of(board)
    return [
        metric
        for key, metric in METRICS.items()
        if sum(isinstance(row.values.get(key), Value) for row in rows) > 1
    ]


def chart_axes(metrics: Sequence[Metric]) -> tuple[Metric, Metric, Metric | None] | None:
    """What is drawn first: cost across, quality up, size as area; None without two metrics."""

    def first(*keys: str) -> Metric | None:
        return next((METRICS[key] for key in keys if METRICS[key] in metrics), None)

    up = first("psnr_rgb", "psnr_y")
    across = first("runtime_images", "runtime_fixed", "macs_ntire2022", "macs_fvcore", "params")
    area = first("params", "macs_ntire2022", "macs_fvcore")
    return None if up is None or across is None else (across, up, area if area != across else None)


def points(board: Leaderboard, x: Metric, y: Metric, area: Metric | None) -> list[Point]:
    """Entries that have both metrics, in shown units."""
    found = []
    for number, row in enumerate(rows_of(board)):
        across, up = row.values.get(x.key), row.values.get(y.key)
        size = None if area is None else row.values.get(area.key)
        if isinstance(across, Value) and isinstance(up, Value):
            found.append(
                Point(
                    number,
                    row.entry,
                    across.value / x.divisor,
                    up.value / y.divisor,
                    size.value / area.divisor if area and isinstance(size, Value) else None,
                    interval_of(across.interval, x.divisor),
                    interval_of(up.interval, y.divisor),
                    ranked=row.unranked_because is None,
                )
            )
    return found


def chart_data(board: Leaderboard, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What the script draws from: metrics, and the values of each entry in shown units."""

    def shown(metric: Metric, value: Value | Absent | None) -> list[float] | None:
        if not isinstance(value, Value):
            return None
        ends = interval_of(value.interval, metric.divisor) or ()
        return [value.value / metric.divisor, *ends]

    return {
        "metrics": [
            {"heading": m.heading, "higher": m.better == "higher", "digits": m.digits}
            for m in metrics
        ],
        "entries": [
            {
                "name": row.entry,
                "ranked": row.unranked_because is None,
                "values": [shown(m, row.values.get(m.key)) for m in metrics],
            }
            for row in rows_of(board)
        ],
    }


def entries_table(board: Leaderboard, records: Sequence[RunRecord], claims: Claims) -> Table:
    """How each run ended, what it says of itself, and what to do about it."""
    by_id = {record.run_id: record for record in records}
    rows = []
    for row in rows_of(board):
        record = by_id.get(row.run_id or "")
        said = [row.unranked_because or ""]
        if record is not None:
            said += [record.advice or "", *(f"{n.code}: {n.message}" for n in record.notices)]
        told = "; ".join(_claimed(row, claims.get(row.entry, {}))) or MISSING
        tone: Tone = "good" if row.status == "ok" else "doubtful"
        rows.append(
            (
                plain(row.entry),
                plain(row.status, "faint" if row.status == "published" else tone),
                plain(row.weights),
                plain(record.environment.isolation if record else MISSING),
                plain(told),
                plain(" ".join(each for each in said if each) or MISSING),
            )
        )
    names = ("Entry", "Status", "Weights", "Sandbox", "Claimed, measured", "Notices and advice")
    return Table(
        headings=tuple(Heading(name, prose=name in names[-2:]) for name in names),
        sections=(Section(tuple(rows)),),
    )


def _claimed(row: LeaderboardEntry, claims: Mapping[str, float]) -> Iterator[str]:
    for key, claimed in claims.items():
        value = row.values.get(key)
        measured = METRICS[key].show(value.value) if isinstance(value, Value) else MISSING
        yield f"{METRICS[key].label} {METRICS[key].format(claimed)}, {measured}"


def images_table(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """PSNR of every image and entry, images on which entries differ most first."""
    key = next((key for key in board.columns if METRICS[key].source == "quality"), "psnr_rgb")
    scored = [(r.entry.name, r.quality) for r in records if isinstance(r.quality, Quality)]
    shown = scored[:MOST_COMPARED]
    if not shown or not hasattr(shown[0][1].images[0], key):
        return None
    scores = {
        name: {image.image: getattr(image, key) for image in quality.images}
        for name, quality in shown
    }

    def spread(image: str) -> float:
        found = [each[image] for each in scores.values() if each.get(image) is not None]
        return max(found) - min(found) if found else 0.0

    images = sorted({image.image for _, quality in shown for image in quality.images})
    images.sort(key=spread, reverse=True)
    metric = METRICS[key]

    def cell(score: float | None) -> str:
        return MISSING if score is None else metric.format(score)

    rows = (
        (image, f"{spread(image):.2f}", *(cell(scores[name].get(image)) for name, _ in shown))
        for image in images
    )
    left = len(scored) - len(shown)
    return Table(
        headings=(
            Heading("Image"),
            Heading("Spread", align="right"),
            *(Heading(name, align="right") for name, _ in shown),
        ),
        sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),),
        caption=f"{metric.heading} of each image; spread: best less worst"
        + (f"; {left} more entries are left out" if left else ""),
    )


def crops(records: Sequence[RunRecord], store: Store) -> tuple[list[CropPictures], list[str]]:
    """The crops that the runs kept, and what is missing, in words.

    Args:
        records: of the board, in order; those that find no room on the page are named.
        store: that holds the crops.
    """
    if not records:
        return [], []
    folder = store.crops_of(records[0].data.digest)
    known = read_crops(folder)
    kept: dict[str, dict[str, str]] = {}
    names = {crop.filename for crop in known}
    room = MOST_CROP_BYTES
    absent, crowded = [], []
    places = [("HR", folder / "HR"), ("LR", folder / "LR")]
    places += [(r.entry.name, store.crops_of(r.fingerprint)) for r in records]
    for label, place in places:
        files = [path for path in (place / name for name in sorted(names)) if path.is_file()]
        size = sum(path.stat().st_size for path in files) * 4 // 3
        if size > room:
            crowded.append(label)
        elif files:
            room -= size
            kept[label] = {path.name: _data_uri(path.read_bytes()) for path in files}
        elif label not in {"HR", "LR"}:
            absent.append(label)
    scores = {r.entry.name: _captions(r) for r in records}
    views = [
        CropPictures(
            f"{crop.image}, row {crop.top}, column {crop.left}",
            crop.height,
            crop.width,
            tuple(
                Picture(label, scores.get(label, {}).get(crop.image, ""), files[crop.filename])
                for label, files in kept.items()
                if crop.filename in files
            ),
        )
        for crop in known
    ]
    said = []
    if absent and records[0].data.verified:
        again = shlex.join(["esrbench", "run", *absent, "--data", records[0].data.name])
        said.append(f"No crops were kept of {', '.join(absent)}: `{again}` makes them.")
    if crowded:
        said.append(f"There is no room on this page for the crops of {', '.join(crowded)}.")
    return views, said


def _psnr(value: float | None) -> str:
    """A PSNR in dB; that of an image without error is infinite."""
    return "\N{INFINITY}" if value is None else METRICS["psnr_rgb"].format(value)


def _captions(record: RunRecord) -> dict[str, str]:
    if isinstance(record.quality, Absent):
        return {}
    return {
        image.image: f"{_psnr(image.psnr_rgb)} dB, SSIM {image.ssim_y:.4f}"
        for image in record.quality.images
        if image.psnr_rgb is not None
    }


def _data_uri(content: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"


def costs(board: Leaderboard, records: Sequence[RunRecord]) -> tuple[Table, list[Metric]]:
    """Everything counted of each entry, and the metrics of which bars are drawn."""
    known = [METRICS[key] for key in COSTS if any(r.measured(key) is not None for r in records)]
    rows = []
    for record in records:
        figures = ((m, record.measured(m.key)) for m in known)
        rows.append(
            (
                plain(record.entry.name),
                *(plain(MISSING if value is None else m.format(value)) for m, value in figures),
            )
        )
    table = Table(
        headings=(Heading("Entry"), *(Heading(m.heading, align="right") for m in known)),
        sections=(Section(tuple(rows)),),
        caption=f"Counted at LR {'x'.join(map(str, records[0].protocol.counted_input))}"
        if records
        else "",
    )
    drawn = [m for m in known if m.key in {"params", *board.columns} or m.key == "macs_aten"]
    return table, drawn


def times(records: Sequence[RunRecord]) -> list[Times]:
    """Raw times of the entries that have some."""
    return [
        _times(record.entry.name, record.latency)
        for record in records[:MOST_TIMED]
        if isinstance(record.latency, Latency)
    ]


def _times(name: str, latency: Latency) -> Times:
    fixed = [r.fixed for r in latency.replicates if isinstance(r.fixed, LatencySamples)]
    by_area = (
        sorted(r.timed_images, key=lambda s: (s.lr_size[0] * s.lr_size[1], s.input_name))
        for r in latency.replicates
    )
    facts = [
        (f"Process {r.index + 1}", f"cold start {r.cold_start_seconds * 1e3:.1f} ms")
        for r in latency.replicates
        if r.cold_start_seconds is not None
    ]
    for size in times_by_size(latency):
        height, width = size.lr_size
        facts.append(
            (
                f"LR {height}x{width}",
                (
                    f"median {size.median * 1e3:.2f} ms, 5th to 95th percentile "
                    f"{size.p5 * 1e3:.2f} to {size.p95 * 1e3:.2f} ms; "
                    f"{size.images} images, {size.rounds} forwards"
                ),
            )
        )
    return Times(
        name,
        tuple(each.seconds for each in fixed),
        tuple(each.warmup_seconds for each in fixed),
        tuple(tuple(_median(s.seconds) for s in samples) for samples in by_area),
        pairs(facts),
    )


def _median(seconds: Sequence[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def left_out(board: Leaderboard, records: Sequence[RunRecord]) -> Table | None:
    """Runs on the same images that are not comparable, with each setting that differs."""
    shown = own_records(board, records)
    if not shown:
        return None
    reference = next((record for record in shown if record.ranked), shown[0])
    names = {record.run_id for record in shown}
    place = reference.data.name, reference.entry.scale
    rows = []
    for record in records:
        same = (record.data.name, record.entry.scale) == place and record.run_id not in names
        if not same or not differences(record, reference):
            continue
        theirs, ours = _settings(record), _settings(reference)
        for setting in dict.fromkeys((*ours, *theirs)):
            here, there = ours.get(setting, MISSING), theirs.get(setting, MISSING)
            if here != there:
                rows.append((record.entry.name, record.run_id, setting, here, there))
    if not rows:
        return None
    names_of = ("Entry", "Run", "Setting", "In this table", "In that run")
    return Table(
        headings=tuple(map(Heading, names_of)),
        sections=(Section(tuple(tuple(map(plain, row)) for row in rows)),),
    )


def _settings(record: RunRecord) -> dict[str, str]:
    document = record.model_dump(mode="json", include={"protocol", "environment"})
    return {**dict(flatten(document)), "data.digest": record.data.digest}


def machine(record: RunRecord) -> tuple[Table, Table]:
    """Environment and protocol of a run, a line each setting."""
    environment = record.environment.model_dump(mode="json")
    protocol = record.protocol.model_dump(mode="json")
    return pairs([*flatten(environment)], "Environment"), pairs([*flatten(protocol)], "Protocol")


def command(records: Sequence[RunRecord]) -> str:
    """The command that measures the same entries again, where options say all of it."""
    ran = [record for record in records if record.entry.role != "images"]
    if not ran:
        return ""
    first = ran[0]
    words = ["esrbench", "run", *(record.entry.name for record in ran)]
    words += ["--data", first.data.name, "--scale", str(first.entry.scale)]
    ours, usual = (dict(flatten(p.model_dump(mode="json"))) for p in (first.protocol, Protocol()))
    if first.protocol.latency is None:
        words.append("--no-latency")
    for field, option in OPTIONS.items():
        if field in ours and ours[field] != usual.get(field):
            words += [option, ours[field]]
    if first.protocol.counted_input != Protocol().counted_input:
        words += ["--input-size", "x".join(map(str, first.protocol.counted_input))]
    return shlex.join(words)


def claims_of(registry: Registry, names: Iterable[str], scale: int) -> Claims:
    """What registered networks of these names state of themselves alone, not of a device."""
    return {
        name: {
            figure.metric: figure.value
            for figure in registry.get(name).published
            if figure.scale == scale and METRICS[figure.metric].scope == ()
        }
        for name in names
        if name in registry
    }
