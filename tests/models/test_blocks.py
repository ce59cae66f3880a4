"""Shared blocks against formulas written out."""

import numpy as np
import pytest
import torch

from esrbench_models.blocks import CCA, ESA, Upsampler, conv, deconv


def test_cca_gates_by_mean_plus_population_deviation():
    attention = CCA(16, 4)
    features = torch.rand(2, 16, 5, 7)
    z = features.numpy().astype(np.float64)
    contrast = z.mean(axis=(2, 3)) + z.std(axis=(2, 3), ddof=0)
    state = {
        name: tensor.numpy().astype(np.float64) for name, tensor in attention.state_dict().items()
    }
    hidden = contrast @ state["gate.0.weight"][:, :, 0, 0].T + state["gate.0.bias"]
    raw = np.maximum(hidden, 0) @ state["gate.2.weight"][:, :, 0, 0].T + state["gate.2.bias"]
    gate = 1 / (1 + np.exp(-raw))
    with torch.inference_mode():
        found = attention(features).numpy()
    np.testing.assert_allclose(found, z * gate[:, :, None, None], rtol=1e-5, atol=1e-6)


def test_esa_gates_with_the_shortcut_alone_where_the_wide_path_is_zero():
    attention = ESA(8, 4)
    with torch.no_grad():
        for parameter in attention.refine.parameters():
            parameter.zero_()
        features = torch.randn(1, 8, 20, 17)
        gate = attention.expand(attention.shortcut(attention.squeeze(features))).sigmoid()
        found = attention(features)
    assert torch.allclose(found, features * gate, atol=1e-6)


def test_esa_sees_far():
    # The furthest pixel from a corner moves its gate through pool and resize only.
    torch.manual_seed(0)
    attention = ESA(8, 4).double()
    features = torch.randn(1, 8, 15, 15, dtype=torch.float64)
    changed = features.clone()
    changed[..., 14, 14] += 3.0
    with torch.inference_mode():
        moved = (attention(features) - attention(changed))[..., 0, 0].abs().max()
    assert moved > 1e-9


def test_upsampler_lays_channels_out_as_pixels():
    tail = Upsampler(4, 2)
    with torch.no_grad():
        tail.conv.weight.zero_()
        tail.conv.get_parameter("bias").copy_(torch.arange(12.0))
    with torch.inference_mode():
        out = tail(torch.rand(1, 4, 3, 3))
    assert out.shape == (1, 3, 6, 6)
    # Colour c, row r, column k of each 2x2 cell come from channel 4c + 2r + k.
    assert out[0, 1, :2, :2].tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_conv_keeps_the_size_with_asymmetric_kernels():
    for kernel in (1, 3, (3, 1), (1, 3)):
        assert conv(2, 5, kernel)(torch.rand(1, 2, 6, 4)).shape == (1, 5, 6, 4)


def test_conv_has_a_bias_unless_told_otherwise():
    assert conv(2, 5, 3).bias is not None
    assert conv(2, 5, 3, bias=False).bias is None


@pytest.mark.parametrize(
    ("kernel", "scale", "first", "last"),
    [
        # The pixels that LR pixel 3 reaches: its cell is 6..7, 9..11, 12..15 or 3.
        (4, 2, 5, 8),
        (3, 2, 5, 7),
        (9, 2, 2, 10),
        (9, 3, 6, 14),
        (9, 4, 9, 17),
        (9, 9, 27, 35),
        (3, 1, 2, 4),
    ],
)
def test_deconv_paints_around_the_cell_of_a_pixel(kernel, scale, first, last):
    enlarge = deconv(1, 1, kernel, scale, bias=False)
    with torch.inference_mode():
        enlarge.weight.fill_(1.0)
        impulse = torch.zeros(1, 1, 7, 7)
        impulse[..., 3, 3] = 1.0
        out = enlarge(impulse)
    assert out.shape == (1, 1, 7 * scale, 7 * scale)
    expected = torch.zeros(7 * scale)
    expected[first : last + 1] = 1.0
    assert torch.equal(out[0, 0], expected[:, None] * expected)


def test_deconv_refuses_to_leave_pixels_out():
    with pytest.raises(ValueError, match="kernel 3 cannot enlarge by 4"):
        deconv(1, 1, 3, 4)
