"""Predicted GPU memory against the figures that NTIRE 2022 published, as a Markdown table.

    python benchmarks/predicted_memory.py [ntire2022.csv]

The file is the challenge's results table with the columns ``team`` and ``gpu_mem_M`` (MiB);
without one the figures are those that the registered entries quote.

Peak memory depends on how long a forward keeps its intermediate tensors, so the figures of the
authors' code follow from what their forwards keep. Networks here are written anew and keep less
in places; ``as_released`` lets them keep what the released ones keep, and nothing else changes.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from harness.catalog.networks import build_deployed
from harness.catalog.registry import default_registry
from harness.probes.memory import predict_memory
from models.aidn import AIDB
from models.blocks import ESA
from models.bsrn import BSRN
from models.imdn import IMDB
from models.rfdn import RFDB
from models.rlfn import RLFB

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor, nn

    from harness.records import PredictedMemory

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

KEPT: Final[Mapping[type[nn.Module], tuple[str, ...]]] = {
    ESA: ("squeeze", "shrink", "<refine", "refine.1", "shortcut", "expand"),
    RFDB: ("<merge",),
    RLFB: ("<merge",),
    AIDB: (
        *(
            f"extract{step}.{branch}_first"
            for step in (1, 2, 3)
            for branch in ("vertical", "horizontal")
        ),
        "<merge",
    ),
    BSRN: ("<head", "<fusion", "fusion_activation", "<upsampler"),
}
"""What the released forwards keep until they return: outputs of these layers, inputs with <."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry.

    Attributes:
        name: registered name.
        published: bytes that the challenge printed, in steps of 0.01 MiB.
        released: predicted of a forward that keeps what the released one keeps.
        registered: predicted of the network as it is here.
    """

    name: str
    published: float
    released: PredictedMemory
    registered: PredictedMemory

    @property
    def error(self) -> float:
        """Share by which the prediction lies above the published figure."""
        return self.released.peak_bytes / self.published - 1


def as_released(network: nn.Module) -> nn.Module:
    """Let a network's forwards keep the tensors that the released ones keep; it is changed."""
    for module in network.modules():
        layers = dict(module.named_modules())
        kept: list[Any] = []
        for place in KEPT.get(type(module), ()):
            layer = layers.get(place.removeprefix("<"))
            if layer is not None and place.startswith("<"):
                layer.register_forward_pre_hook(partial(_keep_input, kept))
            elif layer is not None:
                layer.register_forward_hook(partial(_keep_output, kept))
        module.register_forward_hook(partial(_drop, kept))
        if isinstance(module, IMDB):
            module.forward = partial(_imdb, module)  # type: ignore[method-assign]
    return network


def _keep_input(kept: list[Any], _layer: nn.Module, inputs: Any) -> None:
    kept.append(inputs)


def _keep_output(kept: list[Any], _layer: nn.Module, _inputs: Any, output: Any) -> None:
    kept.append(output)


def _drop(kept: list[Any], _module: nn.Module, _inputs: Any, _output: Any) -> None:
    kept.clear()


def _imdb(block: IMDB, features: Tensor) -> Tensor:
    """The block of the challenge's baseline, which keeps d_4 and not the concatenation."""
    d1, r1 = torch.split(block.phi(block.extract1(features)), block.split_sizes, dim=1)
    d2, r2 = torch.split(block.phi(block.extract2(r1)), block.split_sizes, dim=1)
    d3, r3 = torch.split(block.phi(block.extract3(r2)), block.split_sizes, dim=1)
    d4 = block.extract4(r3)
    merged: Tensor = block.merge(torch.cat((d1, d2, d3, d4), dim=1))
    return merged + features


def rows(published: Mapping[str, float]) -> Iterator[Row]:
    """Predict every entry.

    Args:
        published: MiB by the names of ``TEAMS``' values.
    """
    for name, team in TEAMS.items():
        descriptor = default_registry().get(name)
        released, registered = (
            predict_memory(network, input_size=LARGEST)
            for network in (
                as_released(build_deployed(descriptor, SCALE)),
                build_deployed(descriptor, SCALE),
            )
        )
        yield Row(name, published[team] * MIB, released, registered)


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
        "| entry | published | predicted | error | allocator model | peak at | as registered |",
        "|---|--:|--:|--:|--:|---|--:|",
    ]
    for row in found:
        low, high = (bound / MIB for bound in row.released.allocator_bytes)
        lines.append(
            f"| {row.name} | {row.published / MIB:.2f} | {row.released.peak_bytes / MIB:.2f} "
            f"| {row.error:+.2%} | {low:.2f} to {high:.2f} | `{row.released.peak_operator}` "
            f"| {row.registered.peak_bytes / MIB:.2f} |"
        )
    mean = sum(row.error for row in found) / len(found)
    return "\n".join([*lines, "", f"Mean error {mean:+.2%}."])


if __name__ == "__main__":
    given = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    print(render(list(rows(published_by_team(given)))))  # noqa: T201 - a script's output
