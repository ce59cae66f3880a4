"""SAN against its equations, and what of it cannot learn."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.probes.counters import COUNTERS
from esrbench_models import san
from esrbench_models.san.network import SAN, QuarteredNonLocal, covariance, square_root

(ENTRY,) = san.ENTRIES


def test_covariance_is_numpys():
    features = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    for found, each in zip(covariance(features), features, strict=True):
        expected = np.cov(each.flatten(1).numpy(), ddof=0)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-14)


def test_square_root_squares_to_the_matrix():
    factor = torch.randn(3, 6, 40, dtype=torch.float64)
    matrices = factor @ factor.transpose(1, 2)
    exact = square_root(matrices, steps=30)
    torch.testing.assert_close(exact @ exact, matrices)
    # Five steps, as the network takes, by hand for a scalar matrix: a = 1/2 after the trace.
    root, inverse = 0.5, 1.0
    for _ in range(5):
        step = (3 - inverse * root) / 2
        root, inverse = root * step, inverse * step
    found = square_root(torch.eye(2, dtype=torch.float64)[None] * 7)
    assert found[0, 0, 0].item() == pytest.approx(root * 14**0.5, rel=1e-12)
    assert found[0, 0, 1].item() == 0


def test_square_root_of_nothing_is_nothing():
    assert torch.equal(square_root(torch.zeros(1, 3, 3)), torch.zeros(1, 3, 3))


def test_forward_is_the_equations(layers):
    sizes = {"groups": 2, "blocks": 1, "channels": 8, "reduction": 4, "embedding_reduction": 2}
    network = SAN(2, **sizes)
    with torch.no_grad():
        network.gamma.fill_(0.3)
        network.group_gammas.copy_(torch.tensor([0.1, -0.2]))
    apply = layers(network)
    apply.used = {"gamma", "group_gammas"}

    def non_local(x):
        theta, phi, g = (apply(f"non_local.{name}", x) for name in ("theta", "phi", "g"))
        found = torch.empty_like(g)
        for rows in (slice(0, 2), slice(2, 5)):
            for columns in (slice(0, 3), slice(3, 6)):
                quarter = (slice(None), slice(None), rows, columns)
                scores = torch.einsum("ncij,nckl->nijkl", theta[quarter], phi[quarter]).exp()
                weights = scores / scores.sum(dim=(3, 4), keepdim=True)
                found[quarter] = torch.einsum("nijkl,nckl->ncij", weights, g[quarter])
        return x + apply("non_local.expand", found)

    lr = torch.rand(2, 3, 5, 6, dtype=torch.float64)
    shallow = apply("head", lr)
    source = features = non_local(shallow)
    for group, weight in enumerate((0.4, 0.1)):
        name = f"groups.{group}"
        inner = apply(f"{name}.blocks.0.body.0", features).relu()
        z = features + apply(f"{name}.blocks.0.body.2", inner)
        statistic = square_root(covariance(z)).mean(dim=2)[..., None, None]
        gate = apply(
            f"{name}.attention.gate.2", apply(f"{name}.attention.gate.0", statistic).relu()
        )
        inner = apply(f"{name}.refine", z * gate.sigmoid())
        features = features + inner + weight * source
    features = shallow + non_local(features)
    apply.require(lr, apply("tail", functional.pixel_shuffle(apply("upsampler.0", features), 2)))


def test_the_bias_of_phi_moves_nothing():
    block = QuarteredNonLocal(8, 2).double()
    features = torch.randn(1, 8, 6, 4, dtype=torch.float64)
    with torch.inference_mode():
        expected = block(features)
        block.phi.get_parameter("bias").add_(3.0)
        torch.testing.assert_close(block(features), expected)
        block.theta.get_parameter("bias").add_(3.0)
        assert (block(features) - expected).abs().max() > 1e-3


def test_a_quarter_sees_itself_only():
    block = QuarteredNonLocal(8, 2)
    features = torch.randn(1, 8, 4, 6)
    changed = features.clone()
    changed[..., 1, 2] += 1.0
    with torch.inference_mode():
        moved = (block(features) != block(changed)).any(dim=1)[0]
    expected = torch.zeros(4, 6, dtype=torch.bool)
    expected[:2, :3] = True
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_convolutions_and_matrix_products(scale):
    with torch.device("meta"):
        network, lr = build_network(ENTRY, scale), torch.empty(1, 3, 256, 256)
    hooked, ran = COUNTERS["ntire2022"](network, lr), COUNTERS["aten"](network, lr)
    pixels, positions = 256 * 256, 128 * 128
    # Twice four quarters of 8-channel scores and sums; 20 covariances; 11 products a root,
    # since the first of five steps needs one, three take three and the last takes two.
    products = 2 * 4 * 2 * 8 * positions**2 + 20 * (64**2 * pixels + 12 * 64**3)
    relus = (20 * 10 * 64 * pixels) + 20 * 4
    assert ran.macs - products == hooked.macs - relus
    assert ran.conv_calls == hooked.conv_calls
