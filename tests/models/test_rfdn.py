"""RFDN's relatives: the folded form and the one with channel attention."""

import pytest
import torch
from torch import nn

from esrbench.entries.networks import build_deployed, build_network, load_network
from esrbench_models import rfdn
from esrbench_models.blocks import CCA, ESA
from esrbench_models.rfdn.network import RFDB, RFDN, fold_residuals

RELEASED, *_ = rfdn.ENTRIES
BY_NAME = {entry.name: entry for entry in rfdn.ENTRIES}


def released(shared):
    weights = RELEASED.released_weights(4)
    path = shared / "weights" / weights.filename
    return load_network(RELEASED, 4, path, released=weights).network


def largest_difference(first, second, lr):
    """Share of the data range, which is [0, 255]."""
    with torch.inference_mode():
        return (first(lr) - second(lr)).abs().max().item() / 255


def test_folded_released_weights_give_the_same_image(shared):
    network = released(shared)
    lr = torch.rand(1, 3, 48, 40, generator=torch.Generator().manual_seed(0)) * 255
    difference = largest_difference(network, fold_residuals(network), lr)
    # Float32 rounds both by as much: a fold of something else would show in the first digits.
    assert 0 < difference < 5e-6
    network, lr = network.double(), lr.double()
    assert largest_difference(network, fold_residuals(network), lr) < 1e-13


def test_a_fold_moves_the_centres_of_twelve_convolutions_and_no_more(shared):
    network = released(shared)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    folded = fold_residuals(network)
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    moved = {
        name: tensor.double() - before[name].double()
        for name, tensor in folded.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert len(moved) == 12
    for name, difference in moved.items():
        assert name.split(".")[2].startswith("residual"), name
        centred = torch.zeros_like(difference)
        centred[range(50), range(50), 1, 1] = 1.0
        torch.testing.assert_close(difference, centred, rtol=0, atol=2e-7)


def test_a_network_of_float64_is_folded_in_float64():
    network = RFDN(2, blocks=1).double()
    with torch.no_grad():
        network.get_submodule("blocks.0.residual1").get_parameter("weight").fill_(2.0**-40)
    folded = fold_residuals(network).get_submodule("blocks.0.residual1").get_parameter("weight")
    assert folded[3, 3, 1, 1].item() == 1.0 + 2.0**-40


def test_rfdn_e_is_rfdn_in_prepared_form():
    trained, entry = build_network(RELEASED, 2), BY_NAME["rfdn-e"]
    assert entry.weights == RELEASED.weights
    deployed = build_deployed(entry, 2)
    assert all(block.folded for block in deployed.blocks)
    lr = torch.rand(1, 3, 15, 16)
    assert 0 < largest_difference(deployed, trained, lr) < 1e-6


def test_a_folded_network_adds_no_residual():
    adds = []
    for network in (RFDN(2, blocks=2), fold_residuals(RFDN(2, blocks=2))):
        with torch.profiler.profile() as profile, torch.inference_mode():
            network(torch.rand(1, 3, 15, 15))
        adds.append(sum(event.name == "aten::add" for event in profile.events()))
    assert adds[0] - adds[1] == 2 * 3


def test_a_folded_network_cannot_be_folded_again():
    with pytest.raises(ValueError, match="RFDB-E already"):
        fold_residuals(fold_residuals(RFDN(2)))


def test_a_block_is_the_equations(layers):
    apply = layers(RFDB(8, nn.Identity()))
    features = torch.randn(1, 8, 5, 6, dtype=torch.float64)

    def phi(x):
        return torch.where(x > 0, x, 0.05 * x)

    refined, distilled = features, []
    for step in (1, 2, 3):
        distilled.append(phi(apply(f"distill{step}", refined)))
        refined = phi(apply(f"residual{step}", refined) + refined)
    distilled.append(phi(apply("distill4", refined)))
    apply.require(features, apply("merge", torch.cat(distilled, dim=1)))


def test_which_attention_stands_where():
    for name, blocks, attention, cost in (("rfdn-paper", 6, CCA, 1_212), ("rfdn-5", 5, ESA, 6_650)):
        found = [block.attention for block in build_network(BY_NAME[name], 4).blocks]
        assert [type(each) for each in found] == [attention] * blocks
        for each in found:
            assert sum(parameter.numel() for parameter in each.parameters()) == cost
