"""Forwards that need pixel values: they have them at few sizes, and are told them at others."""

from collections import Counter

import pytest
import torch
from builders import step
from torch import nn

from esrbench.probes.audit import measure_audit
from esrbench.probes.complexity import measure_complexity
from esrbench.probes.counters.shapes import ShapeMode, given_again, on_meta, written_down
from esrbench.protocol import COUNTERS

SIZES = ((64, 64), (96, 64), (96, 96))
SEEN = Counter()
"""Forwards that came to their end, by device and size."""


def reads(more_from=1000):
    def run(module, x):
        out = module.conv(x - x.mean().item())
        if x.shape[2] + x.shape[3] >= more_from and x.max() > 0:
            out = module.conv(out)
        SEEN[x.device.type, int(x.shape[2]), int(x.shape[3])] += 1
        return out

    return step(run, conv=nn.Conv2d(3, 3, 3, padding=1, bias=False))


@pytest.fixture(autouse=True)
def _unseen():
    SEEN.clear()


def macs(network, *valued):
    audit = measure_audit(network.eval(), input_sizes=SIZES, valued_sizes=valued)
    assert audit.by_values
    assert len(audit.sizes) == len(audit.smooth_sizes) == len(SIZES)
    return [count.macs_per_pixel for count in audit.sizes]


def test_values_are_read_at_few_sizes():
    assert macs(reads(), (96, 96)) == [81, 81, 81]
    # Noise and a smooth image at the smallest size and the one that was named.
    assert SEEN == {("cpu", 64, 64): 2, ("cpu", 96, 96): 2, ("meta", 96, 64): 2}


def test_a_forward_that_reads_more_at_another_size_has_its_values_there():
    assert macs(reads(more_from=160), (64, 64)) == [81, 162, 162]
    assert {place for place in SEEN if place[0] == "cpu"} == {("cpu", *size) for size in SIZES}


def test_without_sizes_that_are_named_all_have_values():
    assert macs(reads()) == [81, 81, 81]
    assert {device for device, *_ in SEEN} == {"cpu"}


def test_counters_are_given_what_the_audit_read():
    complexity = measure_complexity(reads(), input_size=(64, 64), counters=COUNTERS, audit_seed=0)
    assert complexity.audit.by_values
    for name in ("ntire2022", "fvcore", "aten"):
        assert complexity.counters[name].macs == 81 * 64 * 64
    assert SEEN["meta", 64, 64] == len(COUNTERS) + 1, "and once for the figures of each block"


def test_another_number_of_readings_is_another_forward():
    network = reads().eval()
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad(), written_down() as written, ShapeMode():
        network(image)
    assert written.values == [pytest.approx(image.mean().item())]
    for values in ([], [0.5, 0.5]):
        with (
            pytest.raises(RuntimeError, match="values without values than with them"),
            given_again(values),
            torch.no_grad(),
            ShapeMode(),
        ):
            on_meta(network)(image.to("meta"))
