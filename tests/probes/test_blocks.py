import pytest
import torch
from builders import step
from torch import nn
from torch.nn import functional

from esrbench.entries.networks import build_network
from esrbench.entries.registry import default_registry
from esrbench.probes.blocks import measure_blocks


def run_twice(module, lr):
    """One shared convolution run twice, and a functional one between."""
    features = module.shared(module.shared(lr))
    return module.tail(functional.conv2d(features, torch.ones(3, 3, 1, 1, device=lr.device)))


TWICE = step(
    run_twice,
    shared=nn.Conv2d(3, 3, 3, padding=1, bias=False),
    tail=nn.Sequential(nn.Conv2d(3, 12, 1), nn.PixelShuffle(2)),
)


def by_name(network, **options):
    return {block.name: block for block in measure_blocks(network, **options)}


def test_blocks_are_counted_by_hand():
    blocks = by_name(TWICE, input_shape=(1, 3, 5, 7), depth=2)
    assert list(blocks) == ["(network)", "shared", "tail", "tail.0", "tail.1"]
    pixels = 5 * 7
    assert blocks["shared"].params == 81
    assert blocks["shared"].macs == 2 * 81 * pixels
    assert blocks["tail"].params == 36 + 12
    assert blocks["tail"].macs == blocks["tail.0"].macs == 36 * pixels
    assert blocks["tail.1"].macs == 0
    # The functional convolution is the network's own.
    assert blocks["(network)"].macs == (2 * 81 + 9 + 36) * pixels
    assert blocks["(network)"].params == 81 + 48
    assert blocks["tail"].output_shape == (1, 3, 10, 14)
    assert blocks["shared"].activations == 2 * 3 * pixels
    # float32: two results of three channels.
    assert blocks["shared"].allocated_bytes == 2 * 3 * pixels * 4


def test_depth_limits_what_is_listed_not_what_is_counted():
    shallow = measure_blocks(TWICE, input_shape=(1, 3, 5, 7), depth=0)
    deep = measure_blocks(TWICE, input_shape=(1, 3, 5, 7), depth=9)
    assert [block.name for block in shallow] == ["(network)"]
    assert shallow[0] == deep[0]


@pytest.mark.parametrize("name", ["aidn", "rfdn", "imdn", "srresnet"])
def test_modules_sum_to_the_published_total(name):
    network = build_network(default_registry().get(name), 4)
    total, *parts = measure_blocks(network, input_shape=(1, 3, 256, 256), depth=1)
    expected = {"aidn": 20_137_646_976, "rfdn": 27_033_648_384, "srresnet": 166_207_684_608}
    assert total.macs == expected.get(name, total.macs)
    assert sum(part.macs for part in parts) == total.macs
    assert sum(part.params for part in parts) == total.params


def test_all_results_of_an_operator_are_allocated():
    halves = step(lambda _, features: features.chunk(2, 1))
    network = step(lambda m, lr: m.halves(m.norm(m.pool(lr)))[1], pool=nn.MaxPool2d(2))
    network.norm, network.halves = nn.GroupNorm(2, 4), halves
    blocks = by_name(network, input_shape=(1, 4, 8, 6), depth=1)
    pixels = 4 * 3
    # float32 and the int64 place of each maximum; a mean and a deviation of each group.
    assert blocks["pool"].allocated_bytes == 4 * pixels * (4 + 8)
    assert blocks["norm"].allocated_bytes == 4 * pixels * 4 + 2 * 2 * 4
    # Views of their input.
    assert blocks["halves"].allocated_bytes == 0
    assert blocks["halves"].output_shape == (1, 2, 4, 3)


def test_a_module_that_fails_and_is_caught_is_left():
    def fail(_, lr):
        raise ValueError(f"{lr.ndim}")

    def run(module, lr):
        try:
            return module.fails(lr)
        except ValueError:
            return lr + 1

    tries = step(run, fails=step(fail))
    whole, part = measure_blocks(tries, input_shape=(1, 3, 4, 4), depth=1)
    assert (whole.allocated_bytes, part.allocated_bytes) == (3 * 16 * 4, 0)


def test_the_deepest_levels_are_left_out_until_the_blocks_fit():
    names = [
        [block.name for block in measure_blocks(TWICE, input_shape=(1, 3, 5, 7), depth=9, most=n)]
        for n in (5, 4, 2, 1)
    ]
    assert list(map(len, names)) == [5, 3, 1, 1]
    assert names[1] == ["(network)", "shared", "tail"]


def test_a_network_that_reads_pixels_has_blocks():
    def run(module, lr):
        return module.part(lr) if lr.mean() > 0 else lr

    network = step(run, part=nn.Conv2d(3, 3, 1, bias=False))
    whole, part = measure_blocks(network, input_shape=(1, 3, 4, 4), depth=1)
    assert whole.macs == part.macs == 9 * 16
