from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from esrbench.training.recipe import load_recipe
from esrbench.training.schedule import LearningRate

if TYPE_CHECKING:
    from typing import Any


def test_a_constant_rate_stays() -> None:
    rate = LearningRate(shape="constant", first=1e-4)
    assert [rate.at(step, 10) for step in (0, 5, 9)] == [1e-4] * 3


def test_a_linear_rate_falls_by_equal_steps_and_uses_both_ends() -> None:
    rate = LearningRate(shape="linear", first=10, last=2)
    assert [rate.at(step, 5) for step in range(5)] == pytest.approx([10, 8, 6, 4, 2])


def test_a_cosine_rate_by_hand() -> None:
    rate = LearningRate(shape="cosine", first=8, last=0.5)
    # Thirds and sixths of half a period: cos is 1, 1/2, -1/2, -1; falls are 0, 1/4, 3/4, 1.
    expected = [8, 8 - 7.5 / 4, 8 - 7.5 * 3 / 4, 0.5]
    assert [rate.at(step, 4) for step in range(4)] == pytest.approx(expected)


def test_warmup_rises_in_equal_steps_and_leaves_the_rest_to_the_shape() -> None:
    rate = LearningRate(shape="linear", first=8, last=2, warmup=4)
    expected = [2, 4, 6, 8, 8, 5, 2]
    assert [rate.at(step, 7) for step in range(7)] == pytest.approx(expected)


def test_a_step_rate_counts_its_unit_and_has_a_floor() -> None:
    rate = LearningRate(shape="step", first=8, last=1.5, every=2, factor=0.5)
    found = [rate.at(step, 100, unit=3) for step in (0, 5, 6, 11, 12, 17, 18, 99)]
    assert found == [8, 8, 4, 4, 2, 2, 1.5, 1.5]


def test_a_step_rate_without_floor_goes_on() -> None:
    rate = LearningRate(shape="step", first=8, every=10, factor=0.1)
    assert rate.at(35, 100) == pytest.approx(8e-3)


def test_the_paper_s_rates_at_its_own_length() -> None:
    first, second = load_recipe("aidn").stages
    epoch = 13_774 // 32
    assert (first.steps(epoch), second.steps(epoch)) == (430_000, 215_000)
    assert first.rate_at(0, epoch) == 2e-4
    assert first.rate_at(429_999, epoch) == pytest.approx(2e-6)
    assert second.rate_at(0, epoch) == 2e-5
    assert second.rate_at(214_999, epoch) == pytest.approx(2e-6)
    middle = (first.rate_at(214_999, epoch) + first.rate_at(215_000, epoch)) / 2
    assert middle == pytest.approx(1.01e-4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": "cosine", "first": 1e-3}, "needs last"),
        ({"shape": "linear", "first": 1e-3, "last": 1e-2}, "last is above first"),
        ({"shape": "step", "first": 1e-3, "every": 5}, "needs both"),
        ({"shape": "constant", "first": 1e-3, "factor": 0.5, "every": 2}, "belong to"),
        ({"shape": "constant", "first": 0}, "greater than 0"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LearningRate.model_validate(fields)
