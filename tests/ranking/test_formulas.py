from __future__ import annotations

import math

import pytest

from esrbench.ranking.formulas import Exponential, RankSum, RealTime

EXPONENTIAL = Exponential(weights={"runtime_images": 0.7, "params": 0.3})


def test_a_sum_of_ranks_reads_ranks_only() -> None:
    total = RankSum(metrics=("params", "runtime_images")).total(
        {}, {"params": 3, "runtime_images": 4, "macs_aten": 9}, {}
    )
    assert (total.order, total.value, total.log) == (7, 7, None)


def test_exponentials_by_hand() -> None:
    # 0.7 exp(2 * 3/2) + 0.3 exp(2 * 1/4)
    total = EXPONENTIAL.total(
        {"runtime_images": 3.0, "params": 1.0}, {}, {"runtime_images": 2.0, "params": 4.0}
    )
    assert total.value == pytest.approx(14.0598758 + 0.49461638, abs=1e-6)
    assert total.log == pytest.approx(math.log(14.0598758 + 0.49461638), abs=1e-7)


def test_a_score_that_overflows_still_has_its_logarithm_and_order() -> None:
    reference = {"runtime_images": 1.0, "params": 1.0}
    slow = EXPONENTIAL.total({"runtime_images": 400.0, "params": 1.0}, {}, reference)
    slower = EXPONENTIAL.total({"runtime_images": 401.0, "params": 1.0}, {}, reference)
    assert slow.value is None
    assert slow.log == pytest.approx(800 + math.log(0.7), abs=1e-12)
    assert slow.order < slower.order
    below = EXPONENTIAL.total({"runtime_images": 354.0, "params": 1.0}, {}, reference)
    assert below.value == pytest.approx(0.7 * math.exp(708))


@pytest.mark.parametrize(
    ("psnr", "seconds", "score"),
    [(31.0, 4e-3, 20.0), (32.0, 1e-3, 80.0), (30.0, 1e-3, 0.0), (29.0, 1e-3, 0.0)],
)
def test_real_time_by_hand(psnr: float, seconds: float, score: float) -> None:
    # Over 30 dB: 20 * 2^1 / sqrt(4), 20 * 2^2 / 1, nothing gained, less than nothing.
    total = RealTime().total({"psnr_rgb": psnr, "runtime_images": seconds}, {}, {"psnr_rgb": 30.0})
    assert total.value == pytest.approx(score)
    assert total.log == (pytest.approx(math.log(score)) if score else None)
    assert total.order == (pytest.approx(-math.log(score)) if score else math.inf)
