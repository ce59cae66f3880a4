"""The steps of AIDN's ablation against their equations."""

import pytest
import torch

from esrbench.entries.networks import build_network
from esrbench_models import aidn
from esrbench_models.aidn.network import AIDB, PlainExtraction

STEPS = {
    "aidn-a0": ("plain", False),
    "aidn-a1": ("linear", False),
    "aidn-a2": ("asymmetric", False),
    "aidn": ("asymmetric", True),
}


@pytest.mark.parametrize(("extraction", "reuse"), STEPS.values(), ids=STEPS)
def test_a_block_is_the_equations(layers, extraction, reuse):
    block = AIDB(8, 4, extraction=extraction, reuse=reuse)
    apply = layers(block)
    features = torch.randn(1, 8, 16, 15, dtype=torch.float64)

    def phi(x):
        return torch.where(x > 0, x, 0.05 * x)

    def extract(step, x):
        name = f"extract{step}"
        if extraction == "plain":
            return apply(f"{name}.conv", x)
        between = phi if extraction == "asymmetric" else torch.clone
        return sum(
            (
                apply(f"{name}.{branch}.2", between(apply(f"{name}.{branch}.0", x)))
                for branch in ("vertical_first", "horizontal_first")
            ),
            torch.zeros(()),
        )

    again = 1.0 if reuse else 0.0
    d1 = phi(apply("distill1", features))
    r1 = phi(extract(1, features) + again * d1)
    d2 = phi(apply("distill2", r1))
    r2 = phi(extract(2, r1) + r1 + again * (d1 + d2))
    d3 = phi(apply("distill3", r2))
    r3 = phi(extract(3, r2) + r2 + again * (d1 + d2 + d3))
    d4 = phi(apply("distill4", r3))
    with torch.inference_mode():
        expected = block.attention(apply("merge", torch.cat((d1, d2, d3, d4), dim=1)))
        torch.testing.assert_close(block(features), expected)


def test_the_entries_are_the_steps():
    found = {}
    for entry in aidn.ENTRIES:
        network = build_network(entry, 4)
        block = network.blocks[0]
        plain = isinstance(block.extract1, PlainExtraction)
        activated = any(
            isinstance(module, torch.nn.LeakyReLU) for module in block.extract1.modules()
        )
        kind = "plain" if plain else "asymmetric" if activated else "linear"
        found[entry.name] = (kind, block.reuse, len(network.blocks))
    assert found.pop("aidn-challenge") == ("asymmetric", True, 4)
    assert found == {name: (*step, 6) for name, step in STEPS.items()}


def test_asymmetric_steps_share_their_weights():
    # So a trained network can be taken apart step by step.
    names = [
        list(build_network(entry, 2).state_dict())
        for entry in aidn.ENTRIES
        if entry.name in {"aidn", "aidn-a1", "aidn-a2"}
    ]
    assert names[0] == names[1] == names[2]
