import random

import pytest
import torch

from esrbench.probes.numbers import Numbers, numbers_needed


def counted(sequence):
    numbers = Numbers()
    for number in sequence:
        numbers.add(number)
    return numbers.count


def pieces(sequence):
    """Lempel and Ziv's definition, word for word."""
    text = "".join(chr(ord("a") + each) for each in sequence)
    start, count = 0, 0
    for end in range(1, len(text) + 1):
        if text[start:end] not in text[: end - 1]:
            start, count = end, count + 1
    return count


@pytest.mark.parametrize(
    ("sequence", "count"),
    [
        ([], 0),
        ([0.5], 1),
        ([0.5] * 1000, 1),
        ([1, 2, 3] * 1000, 3),
        ([1.0, 1, True], 1),
        ([float("nan")] * 5, 1),
        (list(range(1000)), 1000),
        # Their example of 1976: 0 . 001 . 10 . 100 . 1000 . and 101, which was there before.
        ([int(each) for each in "0001101001000101"], 5),
    ],
)
def test_pieces_counted_by_hand(sequence, count):
    assert counted(sequence) == count


def test_pieces_are_those_of_the_definition():
    draw = random.Random(0)  # noqa: S311 - sequences, not secrets
    for _ in range(500):
        levels = draw.choice((1, 2, 3, 9))
        sequence = [draw.randrange(levels) for _ in range(draw.randrange(60))]
        sequence *= draw.choice((1, 3))
        assert counted([*sequence]) == pieces(sequence)


def test_the_order_of_a_few_levels_is_as_good_as_new():
    draw = random.Random(0)  # noqa: S311 - sequences, not secrets
    # About N / log_16(N) = N / 3 of N numbers of 16 levels.
    assert counted([draw.randrange(16) / 16 for _ in range(4096)]) > 4096 / 4


def drawn(levels, count=20000):
    return torch.randint(levels, (count,), generator=torch.Generator().manual_seed(0))


PATTERNS = {
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
def test_patterns_take_few_numbers(table, most):
    assert 0 < numbers_needed(table) <= most
    assert numbers_needed(table.to("meta")) == table.numel()


@pytest.mark.parametrize("levels", [2, 3, 16, 256])
@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.float32]
)
def test_weights_of_few_levels_are_no_pattern(levels, dtype):
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
def test_other_tables_take_all_of_theirs(table):
    assert numbers_needed(table) == table.numel()


def test_complex_numbers_are_two():
    generator = torch.Generator().manual_seed(0)
    assert numbers_needed(torch.rand(300, dtype=torch.complex64, generator=generator)) == 600
