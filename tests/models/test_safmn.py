"""SAFMN against its equations and the figures of NTIRE 2026."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import safmn
from esrbench_models.safmn.network import SAFMN

if TYPE_CHECKING:
    from pathlib import Path

(ENTRY,) = safmn.ENTRIES


def test_forward_is_the_equations() -> None:
    torch.manual_seed(0)
    network = SAFMN(2, blocks=2, channels=4).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    state = network.state_dict()
    used: set[str] = set()

    def parameters(name: str) -> tuple[Tensor, Tensor]:
        used.update((f"{name}.weight", f"{name}.bias"))
        return state[f"{name}.weight"], state[f"{name}.bias"]

    def apply(name: str, x: Tensor) -> Tensor:
        kernel, bias = parameters(name)
        return functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)

    def gelu(x: Tensor) -> Tensor:
        return x * (1 + torch.erf(x / 2**0.5)) / 2

    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias = parameters(name)
        centred = x - x.mean(dim=(1, 2, 3), keepdim=True)
        variance = centred.square().mean(dim=(1, 2, 3), keepdim=True)
        return centred / (variance + 1e-5).sqrt() * weight[:, None, None] + bias[:, None, None]

    def pool(x: Tensor, side: int) -> Tensor:
        """16x8 pixels to cells of ``side`` pixels each way, the maximum of each."""
        cells = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))
        return cells.amax(dim=(3, 5))

    def modulate(name: str, x: Tensor) -> Tensor:
        seen = []
        for level in range(4):
            side = 2**level
            reduced = apply(f"{name}.levels.{level}", pool(x[:, level : level + 1], side))
            seen.append(reduced.repeat_interleave(side, dim=2).repeat_interleave(side, dim=3))
        return gelu(apply(f"{name}.fusion", torch.cat(seen, dim=1))) * x

    lr = torch.rand(2, 3, 16, 8, dtype=torch.float64)
    shallow = features = apply("head", lr)
    for block in ("blocks.0", "blocks.1"):
        features = features + modulate(f"{block}.modulate", norm(f"{block}.norm1", features))
        inner = gelu(apply(f"{block}.mix.0", norm(f"{block}.norm2", features)))
        features = features + apply(f"{block}.mix.2", inner)
    residual = functional.pixel_shuffle(apply("upsampler.conv", features + shallow), 2)
    with torch.inference_mode():
        found = network(lr) - residual
    assert used == set(state)
    bilinear = functional.interpolate(lr, size=(32, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, bilinear)


def test_published_figures_are_those_of_the_results_file(shared: Path) -> None:
    with (shared / "facts" / "ntire2026.csv").open(newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["name"] == "21_SAFMN")
    found = {figure.metric: figure.value for figure in ENTRY.published}
    assert f"{found['runtime_images'] * 1e3:.6f}" == row["ave_time_ms"]
    assert f"{found['peak_bytes'] / 2**20:.6f}" == row["val_mem_MiB"]


def test_complexity_to_the_last_published_digit() -> None:
    with torch.device("meta"):
        network, lr = build_network(ENTRY, 4), torch.empty(1, 3, 256, 256)
    hooked, fvcore = COUNTERS["ntire2022"].count(network, lr), COUNTERS["fvcore"].count(network, lr)
    assert f"{fvcore.macs / 1e9:.6f}" == "9.620355"
    assert f"{(hooked.activations or 0) / 1e6:.6f}" == "176.109568"
    assert hooked.conv_calls == 107
