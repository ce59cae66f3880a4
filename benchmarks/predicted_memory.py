"""Predicted GPU memory against the figures that NTIRE 2022 published, as a Markdown table.

    python benchmarks/predicted_memory.py [ntire2022.csv]

The file is the challenge's results table with the columns ``team`` and ``gpu_mem_M`` (MiB);
without one the figures are those that the registered entries quote.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from esrbench.entries.networks import build_deployed
from esrbench.entries.registry import default_registry
from esrbench.probes.memory import predict_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from esrbench.records import PredictedMemory

SCALE: Final = 4
LARGEST: Final = (510, 510)
"""LR size of the largest image of DIV2K validation at x4."""
MIB: Final = 2**20

TEAMS: Final = {
    "rfdn": "RFDN AIM2020 Winner",
    "imdn-challenge": "IMDN_baseline",
    "rlfn": "ByteESR",
    "aidn-challenge": "HiImageTeam",
    "bsrn": "XPixel",
}
"""Registered entries by their names in the challenge's table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry.

    Attributes:
        name: registered name.
        published: bytes that the challenge printed, in steps of 0.01 MiB.
        predicted: what is predicted for the registered network.
    """

    name: str
    published: float
    predicted: PredictedMemory

    @property
    def error(self) -> float:
        """Share by which the plain prediction lies above the published figure."""
        return self.predicted.peak_bytes / self.published - 1


def rows(published: Mapping[str, float]) -> Iterator[Row]:
    """Predict every entry.

    Args:
        published: MiB by the names of ``TEAMS``' values.
    """
    for name, team in TEAMS.items():
        network = build_deployed(default_registry().get(name), SCALE)
        yield Row(name, published[team] * MIB, predict_memory(network, input_size=LARGEST))


def published_by_team(table: Path | None) -> dict[str, float]:
    """MiB by team, from the challenge's table or from the registered entries."""
    if table is None:
        return {
            team: figure.value / MIB
            for name, team in TEAMS.items()
            for figure in default_registry().get(name).published
            if figure.metric == "peak_bytes"
        }
    with table.open(newline="", encoding="utf-8") as lines:
        return {row["team"]: float(row["gpu_mem_M"]) for row in csv.DictReader(lines)}


def render(found: list[Row]) -> str:
    """The table as Markdown, figures in MiB."""
    lines = [
        "| entry | published | predicted | error | allocator model | peak at |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in found:
        low, high = (bound / MIB for bound in row.predicted.allocator_bytes)
        lines.append(
            f"| {row.name} | {row.published / MIB:.2f} | {row.predicted.peak_bytes / MIB:.2f} "
            f"| {row.error:+.2%} | {low:.2f} to {high:.2f} | `{row.predicted.peak_operator}` |"
        )
    mean = sum(row.error for row in found) / len(found)
    return "\n".join([*lines, "", f"Mean error {mean:+.2%}."])


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print(render(list(rows(published_by_team(given)))))  # noqa: T201 - a script's output
