"""What every registered network does at every scale, whatever it computes."""

import pytest
import torch

from esrbench.entries.networks import build_network
from esrbench_models.entries import ENTRIES

CASES = [
    pytest.param((entry, scale), id=f"{entry.name}-x{scale}")
    for entry in ENTRIES
    for scale in entry.scales
]
LARGE = {"rcan", "rdn", "san"}
"""Networks of more than ten million parameters, of which the scale decides only the last few."""
PARAMETER_CASES = [
    pytest.param(entry, scale, id=case.id, marks=[pytest.mark.slow] * repeats)
    for case in CASES
    for entry, scale in case.values
    if entry.role == "network"
    for repeats in [entry.name in LARGE and scale != max(entry.scales)]
]
"""Those of networks, for tests whose time is that of all parameters."""

# Parameters that no forward at the given scale touches: the heads of the other scales.
IDLE = {
    ("carn-multi", scale): tuple(f"upsamplers.x{other}." for other in (2, 3, 4) if other != scale)
    for scale in (2, 3)
} | {("carn-multi", 4): ("upsamplers.x2.", "upsamplers.x3.")}
# A parameter that a forward uses and that cannot move its result; see esrbench_models.san.network.
INERT = {"san": {"non_local.phi.bias"}}


def image(entry, scale, height, width, *, batch=1, seed=0):
    """The input of a network for an LR image of this size, in its data range."""
    channels = 3 if entry.color == "rgb" else 1
    factor = scale if entry.input == "bicubic-hr" else 1
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, channels, factor * height, factor * width)
    return torch.rand(shape, generator=generator) * entry.data_range


@pytest.fixture(scope="module", params=CASES)
def built(request):
    """A network, its entry and its scale; built once for tests that leave it as it is."""
    entry, scale = request.param
    return build_network(entry, scale), entry, scale


@pytest.mark.parametrize("extra", [(0, 4), (9, 2)], ids=str)
def test_output_is_scale_times_the_lr_image(built, extra):
    network, entry, scale = built
    height, width = (entry.min_lr_size + more for more in extra)
    with torch.inference_mode():
        lr = image(entry, scale, height, width, batch=2)
        sr = network(lr)
    assert sr.shape == (2, lr.shape[1], scale * height, scale * width)
    assert sr.dtype == torch.float32
    assert torch.isfinite(sr).all()


def test_declared_smallest_input_is_the_smallest(built):
    network, entry, scale = built
    side = entry.min_lr_size
    with torch.inference_mode():
        sr = network(image(entry, scale, side, side))
        assert sr.shape[2:] == (scale * side, scale * side)
        if side == 1:
            return
        for height, width in ((side - 1, side), (side, side - 1)):
            told = f"at least {side}x{side} pixels, got {height}x{width}"
            with pytest.raises(ValueError, match=told):
                network(image(entry, scale, height, width))


@pytest.mark.parametrize(("entry", "scale"), PARAMETER_CASES)
def test_gradient_reaches_every_parameter(entry, scale):
    side = max(entry.min_lr_size, 3 if entry.color == "y" else 12)
    unreached = None
    # All ReLUs of a channel gate may be off in one initialisation, so there are several.
    for seed in range(5):
        network = build_network(entry, scale, seed=seed)
        network(image(entry, scale, side, side, seed=seed)).square().mean().backward()
        still = set()
        for name, parameter in network.named_parameters():
            if name.startswith(IDLE.get((entry.name, scale), ())):
                assert parameter.grad is None, name
                continue
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if not parameter.grad.any() and name not in INERT.get(entry.name, ()):
                still.add(name)
        unreached = still if unreached is None else unreached & still
        if not unreached:
            return
    assert unreached == set()


@pytest.mark.parametrize(("entry", "scale"), PARAMETER_CASES)
def test_weights_survive_saving_and_strict_loading(entry, scale, tmp_path):
    first = build_network(entry, scale, seed=0)
    second = build_network(entry, scale, seed=1)
    lr = image(entry, scale, entry.min_lr_size + 2, entry.min_lr_size + 1)
    with torch.inference_mode():
        expected = first(lr)
        assert not torch.equal(second(lr), expected)
        torch.save(first.state_dict(), tmp_path / "weights.pth")
        state = torch.load(tmp_path / "weights.pth", weights_only=True)
        second.load_state_dict(state, strict=True)
        assert torch.equal(second(lr), expected)


@pytest.mark.parametrize("case", CASES)
def test_forward_is_deterministic_and_leaves_its_input_alone(case):
    entry, scale = case
    network = build_network(entry, scale)  # a new one: its first forward could differ from others
    lr = image(entry, scale, entry.min_lr_size + 3, entry.min_lr_size)
    kept = lr.clone()
    with torch.inference_mode():
        first, second = network(lr), network(lr)
    assert torch.equal(first, second)
    assert torch.equal(lr, kept)
