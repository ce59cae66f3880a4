import os

import pytest
import torch

from esrbench.doctor.resolution import check_resolution, judge_resolution, network_and_copy


def ladder(spread, count=60, bias=1.0):
    """Pairs whose log-ratios are evenly spread over both sides of ``bias``."""
    steps = [(2 * index + 1) / count - 1 for index in range(count)]
    return [(0.01 * bias * (1 + spread) ** step, 0.01) for step in steps]


def test_a_quiet_machine_tells_small_differences():
    # z = 2.6 of 60 pairs is rank floor((60 - 2.6 * sqrt(60)) / 2) = 19 from either end, at 23/60
    # of the spread: 1.03 ** (23 / 60) - 1 = 1.14 %. 60 * (1.14 / 2.5)^2 = 12.5: the first look.
    check = judge_resolution(ladder(0.03))
    assert check.state == "ok"
    assert check.finding == (
        "60 pairs of a 10 ms network and its copy agree to ±1.1 %: a difference of 2.5 % can be "
        "told in about 20 pairs"
    )


def test_a_noisy_machine_needs_more_pairs_or_tells_nothing():
    # 1.2 ** (23 / 60) - 1 = 7.24 %; 60 * (7.24 / 2.5)^2 = 503.2
    noisy = judge_resolution(ladder(0.2))
    assert noisy.state == "warning"
    assert "±7.2 %" in noisy.finding
    assert "in about 504 pairs" in noisy.finding
    assert "±1.5 %" in (noisy.advice or "")
    hopeless = judge_resolution(ladder(0.5))
    assert "cannot be told within 600 pairs" in hopeless.finding
    # Ratios spread tenfold leave the 60th root of 10, 23 times: 2.42.
    assert "no better than a factor of 2" in judge_resolution(ladder(9)).finding


def test_a_machine_that_favours_one_of_two_equals_is_told():
    assert judge_resolution(ladder(0.01, bias=1.008)).state == "ok"
    unfair = judge_resolution(ladder(0.01, bias=1.02))
    assert unfair.state == "warning"
    assert "the copy seems 2.0 % off, which it is not" in unfair.finding


def test_too_few_pairs_are_a_problem():
    assert judge_resolution(ladder(0.01, count=4)).state == "problem"


def test_a_network_and_its_copy_do_the_same_work():
    ours, theirs = network_and_copy()
    lr = torch.rand(1, 3, 8, 8)
    with torch.inference_mode():
        assert torch.equal(ours(lr), theirs(lr))
    # Yet not with the very same memory.
    addresses = [{weight.data_ptr() for weight in side.parameters()} for side in (ours, theirs)]
    assert addresses[0].isdisjoint(addresses[1])


@pytest.mark.slow
def test_this_machine_is_judged_in_a_process_of_its_own(machine):
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    check = check_resolution(machine(variables=dict(os.environ)))
    assert check.state in {"ok", "warning"}
    pairs = int(check.finding.split()[0])
    assert pairs in range(20, 61, 10)
    if affinity is not None:
        assert os.sched_getaffinity(0) == affinity


def test_a_self_check_that_fails_says_why(machine):
    variables = {**os.environ, "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    check = check_resolution(machine(variables=variables))
    assert check.state == "problem"
    assert check.finding == (
        "the self-check failed: the environment's ONEDNN_DEFAULT_FPMATH_MODE=BF16 overrides what "
        "the protocol sets"
    )
    late = check_resolution(machine(variables=dict(os.environ)), timeout_seconds=0.01)
    assert late.state == "problem"
    assert "not timed in 0.01 s" in late.finding


@pytest.mark.cuda
def test_the_gpu_of_this_machine_is_judged(machine):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    check = check_resolution(machine(device="cuda", variables=dict(os.environ)))
    assert check.state in {"ok", "warning"}
