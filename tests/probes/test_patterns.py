from __future__ import annotations

import pytest
import torch
from torch import Tensor

from esrbench.probes.patterns import numbers_needed


def drawn(levels: int, count: int = 20_000) -> Tensor:
    return torch.randint(levels, (count,), generator=torch.Generator().manual_seed(0))


PATTERNS: dict[str, tuple[Tensor, int]] = {
    "causal mask": (torch.full((64, 64), -torch.inf).triu(1), 64),
    "grid": (torch.linspace(-1, 1, 64).expand(48, 64).clone(), 64 + 64),
    "interleaved grid": (
        torch.cartesian_prod(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 48)),
        2 * 64 + 48,
    ),
    "indices": (torch.arange(4096) % 81, 64),
    "unit matrix": (torch.eye(64), 64),
    "repeated": (torch.rand(64).repeat(100), 2 * 64),
}


@pytest.mark.parametrize(("table", "most"), PATTERNS.values(), ids=PATTERNS)
def test_patterns_take_few_numbers(table: Tensor, most: int) -> None:
    assert 0 < numbers_needed(table) <= most
    assert numbers_needed(table.to("meta")) == table.numel()


@pytest.mark.parametrize("levels", [2, 3, 16, 256])
@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32]
)
def test_weights_of_few_levels_are_no_pattern(levels: int, dtype: torch.dtype) -> None:
    table = drawn(levels).to(dtype)
    if dtype != torch.bool or levels == 2:
        assert numbers_needed(table) == table.numel()


@pytest.mark.parametrize(
    "table",
    [
        torch.rand(5000, generator=torch.Generator().manual_seed(0)),
        torch.zeros(5000),
        torch.ones(5000),
        torch.arange(100),
        torch.ones(0),
    ],
    ids=["drawn", "zeros", "ones", "small", "empty"],
)
def test_other_tables_take_all_of_theirs(table: Tensor) -> None:
    assert numbers_needed(table) == table.numel()


def test_complex_numbers_are_two() -> None:
    generator = torch.Generator().manual_seed(0)
    assert numbers_needed(torch.rand(300, dtype=torch.complex64, generator=generator)) == 600
