"""LapSRN against its equations, and the FLOPs that are printed of it."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from esrbench.probes.counters import COUNTERS
from esrbench_models.lapsrn.network import FORMS, Form, LapSRN, Level


def macs_at_output(network, height, width):
    """Convolution MACs as printed: transposed convolutions at their output pixels."""
    macs = 0

    def count(module, _inputs, output):
        nonlocal macs
        rows, columns = module.kernel_size
        macs += output.numel() * module.in_channels * rows * columns

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.empty(1, 1, height, width, device="meta"))
    return macs


def deep(kernel):
    return Form(levels=2, depth=10, kernel=kernel, bias=False)


def test_flops_printed_at_x4_are_of_this_network():
    with torch.device("meta"):
        network = LapSRN(4)
    # Printed by the CARN paper: 149.4.
    assert f"{macs_at_output(network, 180, 320) / 1e9:.2f}" == "149.34"


def test_flops_printed_at_x2_are_of_the_first_level_at_x4(monkeypatch):
    monkeypatch.setitem(FORMS, 2, deep(3)._replace(levels=1))
    with torch.device("meta"):
        network = LapSRN(2)
    found = macs_at_output(network, 180, 320) / 1e9
    assert f"{found:.3f}" == "29.895"
    assert f"{round(found, 1) / 3.49:.2f}" == "8.57"


@pytest.mark.parametrize(("kernel", "gmacs"), [(3, "265.7"), (4, "324.5")])
def test_flops_printed_at_x3_are_of_no_form(kernel, gmacs, monkeypatch):
    # The paper prints 199.36, which would be 311.0 of a 1280x720 SR image.
    monkeypatch.setitem(FORMS, 3, deep(kernel))
    with torch.device("meta"):
        network = LapSRN(3)
    assert f"{macs_at_output(network, 240, 427) / 1e9:.1f}" == gmacs


def test_true_macs_of_a_256x256_lr_image():
    # A pixel at x2: 1 -> 64; five 64 -> 64; two deconvolutions of 4x4; 64 -> 1 at 4 pixels.
    per_pixel = 9 * 64 + 5 * 9 * 64 * 64 + 16 * 64 * 64 + 16 + 4 * 9 * 64
    with torch.device("meta"):
        network, lr = LapSRN(2), torch.empty(1, 1, 256, 256)
    assert COUNTERS["aten"](network, lr).macs == per_pixel * 256 * 256


def test_a_level_is_its_equations(layers):
    level = Level(3, Form(levels=1, depth=2, kernel=4, bias=True))
    convolved = layers(level)
    state = convolved.state
    features = torch.rand(1, 3, 4, 5, dtype=torch.float64) - 0.5
    image = torch.rand(1, 1, 4, 5, dtype=torch.float64)

    def phi(hidden):
        return torch.where(hidden > 0, hidden, 0.2 * hidden)

    def enlarged(name, hidden):
        # Each pixel paints its 4x4 kernel around its own 2x2 cell; the rim is cut off.
        weight = state[f"{name}.weight"]
        rows, columns = hidden.shape[-2:]
        canvas = torch.zeros(1, weight.shape[1], 2 * rows + 2, 2 * columns + 2).double()
        for row in range(rows):
            for column in range(columns):
                painted = torch.einsum("c,cokl->okl", hidden[0, :, row, column], weight)
                canvas[0, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += painted
        return canvas[..., 1:-1, 1:-1] + state[f"{name}.bias"][:, None, None]

    hidden = phi(convolved("extract.1", phi(convolved("extract.0", features))))
    hidden = phi(enlarged("enlarge_features", hidden))
    expected = enlarged("enlarge_image", image) + convolved("residual", hidden)
    with torch.inference_mode():
        found = level(features, image)
    torch.testing.assert_close(found[0], hidden)
    torch.testing.assert_close(found[1], expected)


def test_levels_pass_on_features_and_image():
    network = LapSRN(4, channels=3).double()
    lr = torch.rand(1, 1, 4, 5, dtype=torch.float64)
    with torch.inference_mode():
        features, image = functional.leaky_relu(network.head(lr), 0.2), lr
        for level in network.levels:
            features, image = level(features, image)
        assert torch.equal(network(lr), image)
        assert image.shape == (1, 1, 16, 20)


def test_x3_is_x4_made_smaller():
    network = LapSRN(3, channels=3)
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.zero_()
        for level in network.levels:
            level.enlarge_image.get_parameter("bias").fill_(0.25)
        # A constant survives resizing; the last level's bias is all that is left.
        sr = network(torch.rand(1, 1, 4, 5))
    torch.testing.assert_close(sr, torch.full((1, 1, 12, 15), 0.25))


def test_a_scale_without_a_form_is_refused():
    with pytest.raises(ValueError, match="2, 3, 4, not by 8"):
        LapSRN(scale=8)
