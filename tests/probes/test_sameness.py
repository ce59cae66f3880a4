from functools import partial

import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional
from torch.utils import _python_dispatch

from esrbench.probes.sameness import SAME, changed, tolerance, watched_otherwise
from esrbench.protocol import ForwardPolicy

IMAGE = torch.rand((1, 3, 16, 12), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("cheap", [True, False])
def test_a_network_that_knows_that_it_is_watched_is_found(cheap):
    def run(module, x):
        watched = bool(_python_dispatch._get_current_dispatch_mode_stack())
        return x if cheap and watched else x + module.conv(x)

    network = step(run, conv=nn.Conv2d(3, 3, 3, padding=1)).eval()
    found = watched_otherwise(partial(network, IMAGE), network, IMAGE, SAME)
    assert (found is not None) is cheap


def test_rounding_is_no_difference():
    # Torch runs its layer fused where nobody watches, and rounds otherwise.
    def run(module, x):
        tokens = functional.pixel_unshuffle(x, 4).flatten(2).transpose(1, 2)
        return functional.gelu(module.layer(tokens))

    layer = nn.TransformerEncoderLayer(48, 4, 64, batch_first=True)
    network = step(run, layer=layer).eval()
    assert watched_otherwise(partial(network, IMAGE), network, IMAGE, SAME) is None


def test_chance_is_no_difference():
    network = step(lambda _, x: x + torch.rand_like(x))
    assert watched_otherwise(partial(network, IMAGE), network, IMAGE, SAME) is None
    assert changed(partial(network, IMAGE), network(IMAGE), SAME) is None


def test_a_network_that_changed_since_it_was_scored_is_found():
    assert changed(lambda: IMAGE, IMAGE + 1e-6, SAME) is None
    assert changed(lambda: IMAGE, IMAGE + 1e-3, SAME) is not None
    assert changed(lambda: IMAGE[..., :4], IMAGE, SAME) is not None


def test_coarser_arithmetic_may_differ_more():
    policies = [ForwardPolicy(precision=name) for name in ("fp32", "tf32", "fp16", "bf16")]
    shares = [tolerance(policy, "cpu") for policy in policies]
    assert shares == sorted(shares)
    assert tolerance(ForwardPolicy(), "cpu") < tolerance(ForwardPolicy(), "cuda")
