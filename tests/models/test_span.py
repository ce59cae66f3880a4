"""SPAN against its equations and the figures of NTIRE 2026."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import span
from esrbench_models.span.network import SPAN

if TYPE_CHECKING:
    from pathlib import Path

(ENTRY,) = span.ENTRIES


def test_forward_is_the_equations() -> None:
    torch.manual_seed(0)
    network = SPAN(3, channels=4).double()
    state = network.state_dict()
    used: set[str] = set()

    def apply(name: str, x: Tensor) -> Tensor:
        used.update((f"{name}.weight", f"{name}.bias"))
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    lr = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    mean = torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float32).double()
    shallow = apply("head", 255 * (lr - mean[:, None, None]))
    outputs, inner = [shallow], shallow
    for block in range(6):
        inner = silu(apply(f"blocks.{block}.conv1", outputs[-1]))
        last = apply(f"blocks.{block}.conv3", silu(apply(f"blocks.{block}.conv2", inner)))
        outputs.append((last + outputs[-1]) * (1 / (1 + torch.exp(-last)) - 0.5))
    seen = torch.cat((shallow, apply("refine", outputs[-1]), outputs[1], inner), dim=1)
    expected = functional.pixel_shuffle(apply("upsampler.conv", apply("fusion", seen)), 3)
    assert used == set(state)
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), expected)


def test_published_figures_are_those_of_the_results_file(shared: Path) -> None:
    with (shared / "facts" / "ntire2026.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["name"] == "00_SPAN")
    found = {figure.metric: figure.value for figure in ENTRY.published}
    assert f"{found['runtime_images'] * 1e3:.6f}" == row["ave_time_ms"]
    assert f"{found['peak_bytes'] / 2**20:.6f}" == row["val_mem_MiB"]


def test_complexity_to_the_last_published_digit() -> None:
    with torch.device("meta"):
        network, lr = build_network(ENTRY, 4), torch.empty(1, 3, 256, 256)
    hooked, fvcore = COUNTERS["ntire2022"].count(network, lr), COUNTERS["fvcore"].count(network, lr)
    assert f"{fvcore.macs / 1e9:.6f}" == "9.833808"
    assert f"{(hooked.activations or 0) / 1e6:.6f}" == "41.680896"
    assert hooked.conv_calls == 22


def test_the_papers_width_has_426_k_parameters() -> None:
    with torch.device("meta"):
        network = SPAN(4, channels=48)
    assert sum(parameter.numel() for parameter in network.parameters()) == 426_288
