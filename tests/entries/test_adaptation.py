from __future__ import annotations

from functools import partial

import pytest
import torch
from builders import descriptor
from torch import nn
from torch.nn import functional

from esrbench.entries.adaptation import Adapted, adapt, starts
from esrbench.entries.networks import build_deployed, load_network
from esrbench.errors import MeasurementError
from esrbench.probes.complexity import measure_complexity
from esrbench.protocol import COUNTERS
from esrbench.records import CounterResult


class Nearest(nn.Module):
    """Remembers what it was given."""

    def __init__(self, scale=2):
        super().__init__()
        self.scale = scale
        self.seen = []

    def forward(self, lr):
        self.seen.append(lr)
        return functional.interpolate(lr, scale_factor=self.scale, mode="nearest")


RFDN = partial(descriptor, factory="esrbench_models.rfdn.network:RFDN")


def test_what_declares_nothing_is_not_wrapped():
    network = Nearest()
    assert adapt(RFDN(), network, 4) is network


def test_padding_reflects_below_and_on_the_right():
    network = Nearest()
    pixels = torch.arange(15.0).reshape(1, 1, 3, 5)
    sr = Adapted(network, factor=2, multiple=4, tile=None, overlap=0)(pixels)
    (seen,) = network.seen
    # One row added: the second last; three columns: 3, 2, 1 of the row's 0 to 4.
    assert seen[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert seen[0, 0, 3].tolist() == [5, 6, 7, 8, 9, 8, 7, 6]
    assert torch.equal(sr, functional.interpolate(pixels, scale_factor=2, mode="nearest"))


def test_a_side_too_short_to_reflect_repeats_its_edge():
    network = Nearest()
    pixels = torch.tensor([[1.0, 2.0, 3.0]])[None, None]
    Adapted(network, factor=2, multiple=4, tile=None, overlap=0)(pixels)
    assert network.seen[0][0, 0].tolist() == [[1, 2, 3, 2]] * 4


def test_whole_multiples_pass_untouched():
    network = Nearest()
    pixels = torch.rand(1, 3, 8, 4)
    Adapted(network, factor=2, multiple=4, tile=8, overlap=2)(pixels)
    assert network.seen[0] is pixels


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "expected"),
    [
        (10, 4, 0, [0, 4, 6]),
        (12, 4, 0, [0, 4, 8]),
        (10, 4, 2, [0, 2, 4, 6]),
        (9, 4, 1, [0, 3, 5]),
        (4, 4, 2, [0]),
        (4, 4, 4, [0]),
    ],
)
def test_tiles_cover_a_side_and_end_with_it(length, tile, overlap, expected):
    assert list(starts(length, tile, overlap)) == expected


def test_seams_are_the_mean_of_the_tiles_that_cover_them():
    class Count(nn.Module):
        """Gives 1 for its first call, 2 for the second, ..."""

        calls = 0

        def forward(self, pixels):
            self.calls += 1
            return torch.full_like(pixels, float(self.calls))

    sr = Adapted(Count(), factor=1, tile=8, overlap=4)(torch.zeros(1, 1, 4, 18))
    # Tiles at 0, 4, 8 and, so that it fits, 10.
    mean = [1.0] * 4 + [1.5] * 4 + [2.5] * 2 + [3.0] * 2 + [3.5] * 4 + [4.0] * 2
    assert torch.allclose(sr[0, 0], torch.tensor(mean).expand(4, 18))


def test_tiles_of_a_local_network_join_without_a_trace():
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 37, 23)
    whole = functional.interpolate(pixels, scale_factor=2, mode="nearest")
    for overlap in (0, 3, 8):
        tiled = Adapted(Nearest(), factor=2, multiple=2, tile=16, overlap=overlap)(pixels)
        assert torch.allclose(tiled, whole, atol=1e-6)


def test_a_network_of_another_scale_is_told_so():
    adapted = Adapted(Nearest(3), factor=2, multiple=4, tile=None, overlap=0)
    with pytest.raises(MeasurementError, match="an input of 8x8 gave 24x24, expected 16x16"):
        adapted(torch.rand(1, 3, 7, 8))


def test_loaded_and_counted_networks_are_wrapped():
    declared = RFDN(pad_multiple=8)
    for network in (load_network(declared, 4).network, build_deployed(declared, 4)):
        assert isinstance(network, Adapted)
        assert not network.training
        with torch.inference_mode():
            assert network(torch.rand(1, 3, 17, 18)).shape == (1, 3, 68, 72)


def test_an_enlarged_input_keeps_its_size():
    luma = {"color": "y", "input": "bicubic-hr"}
    declared = descriptor(factory="esrbench_models.vdsr.network:VDSR", pad_multiple=16, **luma)
    with torch.inference_mode():
        assert build_deployed(declared, 4)(torch.rand(1, 1, 20, 36)).shape == (1, 1, 20, 36)


def counts(side, **fields):
    complexity = measure_complexity(
        partial(build_deployed, RFDN(**fields), 4), input_size=(side, side), counters=COUNTERS
    )
    results = {n: r.macs for n, r in complexity.counters.items() if isinstance(r, CounterResult)}
    assert set(results) == set(COUNTERS)
    return results | {"params": complexity.params}


def test_counts_include_padding_and_nothing_where_there_is_none():
    plain = counts(64)
    assert counts(64, pad_multiple=16) == plain
    # 50 is padded to 64, and the convolutions do as much as at 64.
    assert counts(50, pad_multiple=64)["fvcore"] == plain["fvcore"]
    assert counts(50, pad_multiple=64)["aten"] == plain["aten"]


def test_counts_include_every_tile():
    tile = counts(32)
    tiled = counts(64, tile=32)
    for counter in ("ntire2022", "fvcore", "aten"):
        assert tiled[counter] == 4 * tile[counter]
    assert tiled["params"] == tile["params"]
