from __future__ import annotations

import copy
import functools
import threading

import pytest
import torch
from torch import nn

from esrbench.entries.structure import (
    buffers,
    copied,
    elements,
    named_modules,
    parameters,
    parameters_sha256,
    state_elements,
)

jit = torch.jit


class Small(nn.Module):
    pass


class Evasive(nn.Module):
    """Answers every question about itself wrongly."""

    __slots__ = ("beside",)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.held = Held(nn.Conv2d(3, 5, 3))
        self.lock = threading.Lock()
        self.run = self.conv.forward
        self.twice = functools.partial(Evasive.again, self)
        self.feature = torch.ones(2, requires_grad=True) * 2
        self.beside = [1, 2]

    def again(self, x):
        return self.conv(x)

    def forward(self, x):
        return self.run(x)

    def __deepcopy__(self, _memo):
        return Small()

    def __reduce_ex__(self, _protocol):
        return Small, ()

    def parameters(self, *_, **__):
        return iter(())

    def named_modules(self, *_, **__):
        return iter(())


class Held:
    def __init__(self, layer):
        self.layer = layer

    def __deepcopy__(self, _memo):
        return Held(nn.Conv2d(3, 1, 1))


def test_a_network_has_no_say_in_how_it_is_read_and_copied():
    network = Evasive()
    assert sum(map(elements, parameters(network))) == 4 * 27 + 4
    made = copied(network)
    assert type(made) is Evasive
    assert made.conv is not network.conv
    assert [tuple(each.shape) for each in parameters(made)] == [(4, 3, 3, 3), (4,)]
    # A copy answers truly, whoever asks.
    assert len(list(made.parameters())) == 2
    assert [name for name, _ in made.named_modules()] == ["", "conv"]
    assert made.held.layer.out_channels == 5
    assert made.held.layer is not network.held.layer
    assert made.lock is network.lock
    assert vars(made)["run"].__self__ is made.conv
    assert made.twice.args == (made,)
    assert made.feature.tolist() == [2, 2]
    assert made.beside == [1, 2]
    assert made.beside is not network.beside
    image = torch.rand(1, 3, 5, 5)
    assert torch.equal(made(image), network(image))


def test_a_copy_shares_nothing_but_what_was_shared():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    network[1].weight = network[0].weight
    made = copied(network)
    assert made[1].weight is made[0].weight
    with torch.no_grad():
        for tensor in (*parameters(made), *buffers(made)):
            tensor.add_(1)
    assert network[2].running_mean.tolist() == [0, 0, 0]
    # Two biases and one weight; 3 + 3 of normalisation; 3 + 3 + 1 buffers.
    assert sum(map(elements, parameters(network))) == 9 + 2 * 3 + 6
    assert state_elements(network) == 2 * 9 + 2 * 3 + 6 + 7


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.utils.weight_norm(nn.Conv2d(3, 3, 3)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 3, 3)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 3, 3)),
        lambda: nn.Sequential(jit.script(nn.Conv2d(3, 3, 3))),
        lambda: nn.Sequential(jit.trace(nn.Conv2d(3, 3, 3), torch.rand(1, 3, 8, 8))),
        lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU())),
    ],
)
def test_networks_of_many_kinds_are_copied(make):
    network = make().eval()
    image = torch.rand(1, 3, 8, 8)
    expected = network(image)
    made = copied(network)
    assert torch.equal(made(image), expected)
    assert len(parameters(made)) == len(parameters(network))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_part_is_read_as_it_is_written():
    compiled = torch.compile(nn.Conv2d(3, 4, 3))
    network = nn.Sequential(compiled)
    assert [name for name, _ in named_modules(network)] == ["", "0"]
    made = copied(network)
    assert type(made[0]) is nn.Conv2d


def test_tensors_are_placed_where_it_is_said():
    network = nn.Conv2d(3, 4, 3)
    network.scale = torch.ones(1)
    made = copied(network, lambda tensor: tensor.detach().to("meta"))
    assert made.weight.is_meta
    assert isinstance(made.weight, nn.Parameter)
    assert made.scale.tolist() == [1]
    assert not network.weight.is_meta
    assert vars(copied(network, attributes=lambda tensor: tensor.to("meta")))["scale"].is_meta


def test_tensors_of_an_inference_are_copied():
    network = nn.Identity()
    with torch.inference_mode():
        network.mask = torch.ones(3)
    assert vars(copied(network))["mask"].tolist() == [1, 1, 1]
    assert copy.deepcopy(network).mask.tolist() == [1, 1, 1]


def test_parameters_are_the_same_whatever_their_names_and_order():
    first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(2, 2, bias=False))
    other = nn.ModuleDict({"b": copy.deepcopy(first[1]), "a": copy.deepcopy(first[0])})
    assert parameters_sha256(first) == parameters_sha256(other) is not None
    with torch.no_grad():
        other["b"].weight[0, 0] += 1e-6
    assert parameters_sha256(first) != parameters_sha256(other)
    # The same numbers in another shape are other weights.
    one, two = nn.Linear(6, 1, bias=False), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        two.weight.copy_(one.weight.reshape(2, 3))
    assert parameters_sha256(one) != parameters_sha256(two)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        assert parameters_sha256(nn.Linear(2, 2).to(dtype)) is not None
    for without in (nn.ReLU(), nn.LazyLinear(2), nn.Linear(2, 2, device="meta")):
        assert parameters_sha256(without) is None
