"""The published leaderboards, as transcribed, one CSV file an edition."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Literal, cast, get_args

from esrbench.environment import own_packages
from esrbench.errors import DataError, UsageError
from esrbench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from esrbench.ranking.rule import Rule

PublishedStatus = Literal["ranked", "unranked_psnr", "measured", "baseline", "floor"]
"""``measured``: published figures without a verdict; the rule's gates decide."""

FIGURES = {
    "psnr_valid": "psnr_rgb",
    "psnr_rgb": "psnr_rgb",
    "psnr_y": "psnr_y",
    "runtime_ms": "runtime_images",
    "params_M": "params",
    "macs_ntire2022_G": "macs_ntire2022",
    "macs_fvcore_G": "macs_fvcore",
    "activations_M": "activations_ntire2022",
    "memory_MiB": "pass_peak_bytes",
    "conv_calls": "conv_calls_ntire2022",
}
"""Column of a file and the metric it is, in the unit that the metric is shown in."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A printed figure.

    Attributes:
        value: in the metric's base unit.
        step: of its last printed digit, likewise.
    """

    value: float
    step: float


@dataclass(frozen=True, slots=True)
class PublishedPlace:
    """What was printed of an entry in a track; None where nothing was.

    Attributes:
        rank: its place.
        rank_sum: its sum of ranks.
        score: its score.
    """

    rank: int | None
    rank_sum: int | None
    score: Figure | None


@dataclass(frozen=True, slots=True)
class PublishedEntry:
    """A row of a published table.

    Attributes:
        name: of the team or network.
        status: what the publication says of it.
        figures: by metric.
        psnr: RGB PSNR in dB by column, such as ``psnr_test``.
        ranks: printed, by metric.
        places: printed, by track.
        note: remark of the publication or on it.
    """

    name: str
    status: PublishedStatus
    figures: Mapping[str, Figure]
    psnr: Mapping[str, float]
    ranks: Mapping[str, int]
    places: Mapping[str, PublishedPlace]
    note: str


def official_folder() -> Path:
    """Folder of the published tables: beside the installed package, or of the checkout."""
    package = own_packages()["esrbench"]
    packaged = package / "official"
    return packaged if packaged.is_dir() else package.parent.parent / "results" / "official"


def official_names() -> tuple[str, ...]:
    """Names of the editions whose tables are here."""
    return tuple(sorted(path.stem for path in official_folder().glob("*.csv")))


def read_official(rule: Rule, folder: Path | None = None) -> tuple[PublishedEntry, ...]:
    """The published table of an edition.

    Args:
        rule: of the edition.
        folder: holds the files; the official one if left out.

    Raises:
        UsageError: there is no table of that edition.
        DataError: a row that is not as expected; lists all of them.
    """
    path = (folder or official_folder()) / f"{rule.name}.csv"
    if not path.is_file():
        message = f"no published table of {rule.name} is here"
        raise UsageError(message, advice=f"There are: {', '.join(official_names())}.")
    entries: list[PublishedEntry] = []
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            try:
                entries.append(_entry(row, rule))
            except (KeyError, ValueError, InvalidOperation) as error:
                problems.append(f"line {line}: {error!r}")
    names = [entry.name for entry in entries]
    problems += [f"{name}: twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if problems:
        message = f"{path}: the published table is damaged"
        raise DataError(message, problems, advice="Restore the file from the repository.")
    return tuple(entries)


def _entry(row: Mapping[str, str], rule: Rule) -> PublishedEntry:
    status = row["status"]
    if status not in get_args(PublishedStatus):
        message = f"unknown status {status!r}"
        raise ValueError(message)
    return PublishedEntry(
        name=row["entry"],
        status=cast("PublishedStatus", status),
        figures={
            metric: printed(row[column], METRICS[metric].divisor)
            for column, metric in FIGURES.items()
            if row.get(column)
        },
        psnr={
            column: float(row[column])
            for column in ("psnr_valid", "psnr_test", "psnr_rgb")
            if row.get(column)
        },
        ranks=_integers(row, {metric: f"{metric}_rank" for metric in rule.columns}),
        places={track.key: _place(row, track.key) for track in rule.tracks},
        note=row.get("note") or "",
    )


def _place(row: Mapping[str, str], key: str) -> PublishedPlace:
    found = _integers(row, {"rank": f"{key}_rank", "rank_sum": f"{key}_rank_sum"})
    score = row.get(f"{key}_score")
    return PublishedPlace(
        rank=found.get("rank"),
        rank_sum=found.get("rank_sum"),
        score=printed(score, 1.0) if score else None,
    )


def _integers(row: Mapping[str, str], columns: Mapping[str, str]) -> dict[str, int]:
    return {key: int(row[column]) for key, column in columns.items() if row.get(column)}


def printed(text: str, divisor: float) -> Figure:
    """A printed figure in base units.

    Args:
        text: decimal digits as printed.
        divisor: base units per printed unit.
    """
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int):
        message = f"{text!r} is no number"
        raise ValueError(message)  # noqa: TRY004 - infinity and NaN are bad values
    unit = Decimal(repr(divisor))
    return Figure(float(number * unit), float(Decimal(1).scaleb(exponent) * unit))


def printed_step(entries: Iterable[PublishedEntry], metric: str) -> float:
    """Finest step in which a metric is printed, base units; 0 where it is not."""
    return min((e.figures[metric].step for e in entries if metric in e.figures), default=0.0)
