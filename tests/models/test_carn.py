"""CARN against its paper's count, and its two forms."""

import pytest
import torch

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import carn
from esrbench_models.carn.network import CARN

SINGLE, MULTI = carn.ENTRIES


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_heads_of_other_scales_are_idle(scale):
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
    scale, exact, rounded, divisor, printed
):
    # At x3 the LR image would be 426 2/3 x 240: 320x320 has as many pixels.
    size = {2: (360, 640), 3: (320, 320), 4: (180, 320)}[scale]
    with torch.device("meta"):
        network = build_network(SINGLE, scale)
        found = COUNTERS["aten"](network, torch.empty(1, 3, *size)).macs / 1e9
    assert f"{found:.2f}" == exact
    assert found == pytest.approx(rounded, abs=0.05)
    assert f"{rounded / divisor:.2f}" == printed


def test_a_scale_without_head_is_refused():
    with pytest.raises(ValueError, match="2, 3, 4, not by 5"):
        CARN(5)
