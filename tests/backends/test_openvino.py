"""Quantising OpenVINO's graphs: near float32 by PSNR, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from esrbench.backends import Setting, get_backend
from esrbench.backends.openvino import NEAR_DB, _psnr
from esrbench.errors import MeasurementError

BACKEND = get_backend("openvino")


@pytest.mark.parametrize(
    ("wrong", "peak", "psnr"),
    [(0.01, 1.0, 40.0), (2.55, 255.0, 40.0), (0.001, 1.0, NEAR_DB), (0.0, 1.0, NEAR_DB)],
)
def test_nearness_is_psnr_in_either_data_range(wrong, peak, psnr):
    lr, sr = np.zeros((1, 3, 2, 2)), np.full((1, 3, 4, 4), peak)
    found, _ = _psnr(lambda _lr: [sr - wrong], iter([(lr, sr)] * 2))
    assert found == pytest.approx(psnr)


@pytest.fixture
def quantise(tmp_path):
    """Quantises a network; gives what the graph holds, and its SR of an input and torch's."""
    pytest.importorskip("openvino", reason="openvino is an extra, and not installed here")
    pytest.importorskip("nncf", reason="nncf is an extra, and not installed here")

    def make(network, *, fp32_ends=False):
        lr = torch.rand(1, 3, 24, 32)
        BACKEND.build(network, lr, tmp_path)
        inputs = [lr, *(torch.rand(1, 3, 24, 32) for _ in range(2))]
        held = BACKEND.quantise(tmp_path, inputs, "int8", fp32_ends=fp32_ends)
        opened = BACKEND.open(network, Setting(torch.device("cpu"), 1, graph=tmp_path))
        with torch.inference_mode():
            return held, opened.run(lr), network(lr)

    return make


def layers():
    torch.manual_seed(0)
    three = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)]
    return nn.Sequential(three[0], nn.ReLU(), three[1], nn.ReLU(), three[2]).eval()


class Refines(nn.Module):
    """Adds what layers find, as a fraction, to its input."""

    def __init__(self, fraction):
        super().__init__()
        self.layers, self.fraction = layers(), fraction

    def forward(self, lr):
        return lr + self.fraction * self.layers(lr)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own
def test_operators_stay_in_float32_where_psnr_or_the_user_asks_for_it(quantise):
    held, sr, exact = quantise(Refines(0.01).eval())
    assert held.operators["FakeQuantize"] > 0
    assert held.float_products == {}
    assert not torch.equal(sr, exact)

    held, sr, exact = quantise(Refines(0.01).eval(), fp32_ends=True)
    assert held.float_products == {"Convolution": 2}

    held, sr, exact = quantise(layers())
    assert 0 < held.float_products["Convolution"] < 3
    error = (sr - exact).square().mean()
    assert 10 * torch.log10(exact.abs().max() ** 2 / error) >= NEAR_DB - 1  # of one of the inputs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning")  # torch's own
def test_a_graph_of_which_nothing_becomes_integers_is_refused(quantise):
    with pytest.raises(MeasurementError, match="matrix products: it has none") as caught:
        quantise(nn.ReLU().eval())
    assert caught.value.advice == "Measure it in fp32."
