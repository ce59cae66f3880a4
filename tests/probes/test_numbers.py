from __future__ import annotations

import random

import pytest

from esrbench.probes.numbers import Numbers


def counted(sequence: list[float]) -> int:
    numbers = Numbers()
    for number in sequence:
        numbers.add(number)
    return numbers.count


def pieces(sequence: list[int]) -> int:
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
def test_pieces_counted_by_hand(sequence: list[float], count: int) -> None:
    assert counted(sequence) == count


def test_pieces_are_those_of_the_definition() -> None:
    draw = random.Random(0)  # noqa: S311 - sequences, not secrets
    for _ in range(500):
        levels = draw.choice((1, 2, 3, 9))
        sequence = [draw.randrange(levels) for _ in range(draw.randrange(60))]
        sequence *= draw.choice((1, 3))
        assert counted([*sequence]) == pieces(sequence)


def test_the_order_of_a_few_levels_is_as_good_as_new() -> None:
    draw = random.Random(0)  # noqa: S311 - sequences, not secrets
    # About N / log_16(N) = N / 3 of N numbers of 16 levels.
    assert counted([draw.randrange(16) / 16 for _ in range(4096)]) > 4096 / 4
