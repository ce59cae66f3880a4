from __future__ import annotations

import pytest

from esrbench.runs.sizes import TakenSizes, find_sizes

RULES = {
    "any size": (lambda _: True, TakenSizes(1, 1)),
    "kernels of 15": (lambda side: side >= 15, TakenSizes(15, 1)),
    "windows of 8": (lambda side: side % 8 == 0, TakenSizes(1, 8)),
    "windows of 7": (lambda side: side % 7 == 0, TakenSizes(1, 7)),
    # 48 and 64, but not 56; what is smaller than 33 would be padded to 32.
    "windows of 16 from 48 on": (lambda side: side % 16 == 0 and side >= 48, TakenSizes(33, 16)),
    "windows of 24": (lambda side: side % 24 == 0, TakenSizes(1, 24)),
    "a hole": (lambda side: side != 20, TakenSizes(21, 1)),
    "a hole among multiples": (lambda side: side % 4 == 0 and side != 12, TakenSizes(13, 4)),
    "large images only": (lambda side: side >= 100, TakenSizes(100, 1)),
}


@pytest.mark.parametrize("rule", RULES)
def test_least_size_and_multiple_are_found_by_trying(rule):
    takes, expected = RULES[rule]
    assert find_sizes(lambda height, width: takes(height) and takes(width)) == expected


def test_what_takes_nothing_has_no_sizes():
    tried = []
    assert find_sizes(lambda *size: bool(tried.append(size))) is None
    assert len(tried) < 100


def test_squares_alone_are_not_enough():
    assert find_sizes(lambda height, width: height == width) is None
