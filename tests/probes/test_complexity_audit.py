"""What the audit adds to a complexity: a size nobody expects, a network without traces."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn import functional

from esrbench.probes.complexity import drawn_size, measure_complexity
from esrbench.records import Absent, Complexity

SIZES = ((256, 256), (339, 510), (510, 510))


def audit_of(complexity):
    assert not isinstance(complexity.audit, Absent), complexity.audit
    return complexity.audit


def test_a_size_is_drawn():
    drawn = {drawn_size(SIZES, seed) for seed in range(40)}
    assert len(drawn) > 30
    assert all(size is not None and 64 <= min(size) <= max(size) <= 510 for size in drawn)
    assert drawn_size(SIZES, 3) == drawn_size(SIZES, 3)
    windows = {drawn_size(((256, 256), (128, 192)), seed) for seed in range(40)}
    assert all(size is None or (size[0] % 64, size[1] % 64) == (0, 0) for size in windows)
    assert drawn_size(((8, 6),), 0) is None


def test_a_network_made_for_the_sizes_known_before_is_found():
    class Expects(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Conv2d(3, 8, 1, bias=False)
            self.body = nn.Conv2d(8, 8, 1, bias=False)

        def forward(self, x):
            x = self.head(x)
            return x if tuple(x.shape[2:]) in SIZES else self.body(x)

    sizes = measure_complexity(
        Expects, input_size=(256, 256), memory_input=(510, 510), counters=("aten",), audit_seed=7
    )
    drawn = drawn_size(SIZES, 7)
    assert drawn is not None
    found = {count.input_size: count.macs_per_pixel for count in audit_of(sizes).sizes}
    assert found == {**dict.fromkeys(SIZES, 24), drawn: 24 + 64}
    assert sizes.audit_seed == 7
    assert [notice.code for notice in sizes.notices] == ["size-dependent-cost"]
    others = [measure_complexity(Expects, input_size=(64, 64), counters=()) for _ in range(2)]
    assert [each.audit_seed for each in others] == [None, None]


def test_what_counters_leave_in_a_network_is_no_constant_of_it():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(4, 3, 1)
            self.grids = {}

        def forward(self, x):
            size = tuple(x.shape[2:])
            if size not in self.grids:
                rows = torch.arange(size[0], device=x.device) / size[0]
                self.grids[size] = rows[:, None] * torch.ones(size, device=x.device)
            return self.conv(torch.cat([x, self.grids[size].expand_as(x[:, :1])], 1))

    sizes = measure_complexity(
        Keeps, input_size=(64, 64), memory_input=(96, 96), counters=("aten",), audit_seed=0
    )
    assert sizes.params == 15
    assert audit_of(sizes).effective_constants < 15 + 10
    assert sizes.notices == ()


def test_a_notice_of_the_audit_takes_the_place_of_a_counters():
    with torch.library._scoped_library("esrbench_notices", "FRAGMENT") as library:
        library.define("mystery(Tensor x) -> Tensor")
        library.impl("mystery", torch.neg, "CompositeExplicitAutograd")

        class Opaque(nn.Module):
            def forward(self, x):
                if x.shape[2] > 8:
                    x = torch.ops.esrbench_notices.mystery(x)
                return torch.ops.esrbench_notices.mystery(x)

        sizes = measure_complexity(
            Opaque, input_size=(8, 6), memory_input=(16, 16), counters=("aten",)
        )
    (notice,) = sizes.notices
    assert (notice.code, "mystery (2)" in notice.message) == ("opaque-operator", True)


def test_complex_parameters_are_two_numbers():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(5, 3, dtype=torch.complex64))

        def forward(self, x):
            out = (self.weight @ x.flatten(2).to(torch.complex64)).abs()
            return functional.relu(out)

    sizes = measure_complexity(Complex, input_size=(8, 6), counters=("aten",))
    assert (sizes.params, sizes.state_bytes) == (30, 120)
    assert audit_of(sizes).effective_constants == 30
    result = sizes.counters["aten"]
    assert not isinstance(result, Absent)
    assert result.macs == 4 * 15 * 48


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
