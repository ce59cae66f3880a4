"""CARN against its equations, its paper's count and its two forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import carn
from esrbench_models.carn.network import CARN

SINGLE, MULTI = carn.ENTRIES


def test_forward_is_the_equations() -> None:
    torch.manual_seed(0)
    network = CARN(4, channels=4).double()
    state = network.state_dict()
    used: set[str] = set()

    def apply(name: str, x: Tensor) -> Tensor:
        used.update((f"{name}.weight", f"{name}.bias"))
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def residual(name: str, x: Tensor) -> Tensor:
        inner = apply(f"{name}.0.body.0", x).relu()
        return (x + apply(f"{name}.0.body.2", inner)).relu()

    def cascade(name: str, x: Tensor, depth: int) -> Tensor:
        outputs, fused = [x], x
        for unit in range(3):
            inner = f"{name}.units.{unit}"
            outputs.append(cascade(inner, fused, depth - 1) if depth else residual(inner, fused))
            fused = apply(f"{name}.fusions.{unit}.0", torch.cat(outputs, dim=1)).relu()
        return fused

    lr = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    features = cascade("body", apply("head", lr), 1)
    for stage in ("upsamplers.x4.0", "upsamplers.x4.3"):
        features = functional.pixel_shuffle(apply(stage, features).relu(), 2)
    expected = apply("tail", features)
    assert used == set(state)
    with torch.inference_mode():
        torch.testing.assert_close(network(lr), expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_heads_of_other_scales_are_idle(scale: int) -> None:
    single, multi = build_network(SINGLE, scale), build_network(MULTI, scale)
    state = multi.state_dict()
    idle = {name for name in state if name not in single.state_dict()}
    others = {f"x{other}" for other in (2, 3, 4) if other != scale}
    assert {name.split(".")[1] for name in idle} == others
    assert all(name.startswith("upsamplers.") for name in idle)
    single.load_state_dict({name: state[name] for name in state if name not in idle}, strict=True)
    lr = torch.rand(1, 3, 6, 5)
    with torch.inference_mode():
        expected = multi(lr)
        for name in idle:
            state[name].fill_(torch.nan)
        assert torch.equal(multi(lr), expected)
        assert torch.equal(single(lr), expected)


# The CARN paper's mult-adds for an SR image of 1280x720, and what the AIDN paper makes of them.
@pytest.mark.parametrize(
    ("scale", "exact", "rounded", "divisor", "printed"),
    [
        (2, "222.82", 222.8, 3.49, "63.84"),
        (3, "118.79", 118.8, 1.56, "76.15"),
        (4, "90.87", 90.9, 0.87, "104.48"),
    ],
)
def test_macs_of_a_720p_sr_image_are_what_was_printed_once_divided(
    scale: int, exact: str, rounded: float, divisor: float, printed: str
) -> None:
    # At x3 the LR image would be 426 2/3 x 240: 320x320 has as many pixels.
    size = {2: (360, 640), 3: (320, 320), 4: (180, 320)}[scale]
    with torch.device("meta"):
        network = build_network(SINGLE, scale)
        found = COUNTERS["aten"].count(network, torch.empty(1, 3, *size)).macs / 1e9
    assert f"{found:.2f}" == exact
    assert found == pytest.approx(rounded, abs=0.05)
    assert f"{rounded / divisor:.2f}" == printed


def test_a_scale_without_head_is_refused() -> None:
    with pytest.raises(ValueError, match="2, 3, 4, not by 5"):
        CARN(5)
