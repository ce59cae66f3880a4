"""What every step of the GPU day is given, and how it writes what it finds."""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.entries.registry import default_registry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.networks import ResolvedWeights

Row = dict[str, object]
Found = tuple[str, Row]
"""The table that a row belongs to, and the row."""

SCALE = 4
RELEASED = ("rfdn", "imdn-challenge", "bsrn", "rlfn", "aidn-challenge")
"""Entries of NTIRE 2022 whose weights were released, and whose memory was published."""
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Day:
    """What every step is given.

    Attributes:
        device: where networks run.
        out: folder of the results.
        deadline: ``time.monotonic()`` at which the step should end by itself.
        data: folder of HR/LR pairs at x4, or None for the photographs that ship.
        weights: folder of released weights under their own names, or None for what ships.
        tiny: the smallest sizes and counts, to try the script itself.
    """

    device: Literal["cpu", "cuda"]
    out: Path
    deadline: float
    data: Path | None = None
    weights: Path | None = None
    tiny: bool = False

    def left(self) -> float:
        """Seconds until the deadline; 0 once it has passed."""
        return max(0.0, self.deadline - time.monotonic())

    def pairs(self) -> ImagePairs:
        """The HR/LR pairs that networks are scored on."""
        return open_dataset(self.data or "demo", SCALE)

    def weights_of(self, name: str) -> ResolvedWeights:
        """The released weights of an entry where the folder holds them, else what ships."""
        descriptor = default_registry().get(name)
        known = {each.sha256 for each in descriptor.weights if each.scale == SCALE}
        given = {} if self.weights is None else _files_by_digest(self.weights)
        path = next((given[digest] for digest in known if digest in given), None)
        return resolve_weights(descriptor, SCALE, path or "auto")


@cache
def _files_by_digest(folder: Path) -> dict[str, Path]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in folder.iterdir()}


def write_rows(found: Iterator[Found], out: Path) -> None:
    """Append each row to ``TABLE.csv`` as soon as it is there, so that no row is lost.

    Raises:
        ValueError: a row has other columns than its table.
    """
    columns: dict[str, Sequence[str]] = {}
    for table, row in found:
        first = table not in columns
        columns.setdefault(table, tuple(row))
        if tuple(row) != columns[table]:
            message = f"{table}: a row has the columns {tuple(row)}, expected {columns[table]}"
            raise ValueError(message)
        with (out / f"{table}.csv").open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if first:
                writer.writerow(row)
            writer.writerow([_cell(value) for value in row.values()])
            file.flush()
            os.fsync(file.fileno())
        sys.stdout.write(f"{table}: {', '.join(f'{k} {_cell(v)}' for k, v in row.items())}\n")
        sys.stdout.flush()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def reason(error: Exception) -> str:
    """One line that says why a row has no figures."""
    message = str(getattr(error, "message", error)).strip().splitlines()
    return f"{type(error).__name__}: {message[0] if message else 'no message'}"[:200]
