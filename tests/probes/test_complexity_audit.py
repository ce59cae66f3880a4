"""What the audit adds to a complexity: a size nobody expects, a network without traces."""

import pytest
import torch
from builders import step
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from esrbench.probes.complexity import drawn_size, measure_complexity
from esrbench.records import Complexity

SIZES = ((256, 256), (339, 510), (510, 510))


def test_a_size_is_drawn():
    drawn = {drawn_size(SIZES, seed) for seed in range(40)}
    assert len(drawn) > 30
    assert all(size is not None and 64 <= min(size) <= max(size) <= 510 for size in drawn)
    assert drawn_size(SIZES, 3) == drawn_size(SIZES, 3)
    windows = {drawn_size(((256, 256), (128, 192)), seed) for seed in range(40)}
    assert all(size is None or (size[0] % 64, size[1] % 64) == (0, 0) for size in windows)
    assert drawn_size(((8, 6),), 0) is None


def test_a_network_made_for_the_sizes_known_before_is_found():
    def run(module, x):
        x = module.head(x)
        return x if tuple(x.shape[2:]) in SIZES else module.body(x)

    def build():
        head, body = nn.Conv2d(3, 8, 1, bias=False), nn.Conv2d(8, 8, 1, bias=False)
        return step(run, head=head, body=body)

    sizes = measure_complexity(
        build, input_size=(256, 256), memory_input=(510, 510), counters=("aten",), audit_seed=7
    )
    drawn = drawn_size(SIZES, 7)
    found = {count.input_size: count.macs_per_pixel for count in sizes.audit.sizes}
    assert found == {**dict.fromkeys(SIZES, 24), drawn: 24 + 64}
    assert sizes.audit_seed == 7
    assert [notice.code for notice in sizes.notices] == ["size-dependent-cost"]
    others = [measure_complexity(build, input_size=(64, 64), counters=()) for _ in range(2)]
    assert [each.audit_seed for each in others] == [None, None]


def test_what_counters_leave_in_a_network_is_no_constant_of_it():
    def run(module, x):
        size = tuple(x.shape[2:])
        if size not in module.grids:
            rows = torch.arange(size[0], device=x.device) / size[0]
            module.grids[size] = rows[:, None] * torch.ones(size, device=x.device)
        return module.conv(torch.cat([x, module.grids[size].expand_as(x[:, :1])], 1))

    def build():
        return step(run, conv=nn.Conv2d(4, 3, 1), grids={})

    sizes = measure_complexity(
        build, input_size=(64, 64), memory_input=(96, 96), counters=("aten",), audit_seed=0
    )
    assert sizes.params == 15
    assert sizes.audit.effective_constants < 15 + 10
    assert sizes.notices == ()


def test_a_notice_of_the_audit_takes_the_place_of_a_counters(mystery):
    def run(_, x):
        return mystery(mystery(x) if x.shape[2] > 8 else x)

    sizes = measure_complexity(
        lambda: step(run), input_size=(8, 6), memory_input=(16, 16), counters=("aten",)
    )
    (notice,) = sizes.notices
    assert (notice.code, "mystery (2)" in notice.message) == ("opaque-operator", True)


def test_complex_parameters_are_two_numbers():
    def run(module, x):
        return functional.relu((module.weight @ x.flatten(2).to(torch.complex64)).abs())

    weight = nn.Parameter(torch.ones(5, 3, dtype=torch.complex64))
    network = step(run, weight=weight)
    sizes = measure_complexity(lambda: network, input_size=(8, 6), counters=("aten",))
    assert (sizes.params, sizes.state_bytes) == (30, 120)
    assert sizes.audit.effective_constants == 30
    assert sizes.counters["aten"].macs == 4 * 15 * 48


def test_figures_that_nothing_can_be_computed_from_are_no_record():
    sizes = measure_complexity(lambda: nn.Conv2d(3, 4, 3), input_size=(8, 6), counters=())
    told = sizes.model_dump()
    for params in (2**63, 10**400, -1):
        with pytest.raises(ValidationError, match="params"):
            Complexity.model_validate({**told, "params": params})
    assert Complexity.model_validate({**told, "params": 2**63 - 1}).params == 2**63 - 1
    for size in ((0, 0), (0, 6), (8, 0), (2**63, 6)):
        forged = {"input_size": size, "macs": 0}
        with pytest.raises(ValidationError, match="input_size"):
            Complexity.model_validate({**told, "audit": {**told["audit"], "sizes": (forged,)}})
