from collections import Counter

import builders
import numpy as np
import pytest

from esrbench.probes.latency import time_rounds, warm_up
from esrbench.protocol import LatencyDesign
from esrbench.records import Absent, Conditions
from esrbench.runs.noise import NOISES, noise_notices

STEADY = (1.00, 1.01, 0.99, 1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.0)
"""Ten rounds without trend or outlier; half of the interval of their median is 1 %."""


def samples(name="fixed", **fields):
    """One quiet input, about a second a forward."""
    return builders.samples(name, **({"seconds": STEADY, "stopped_by": "interval"} | fields))


def latency(*processes):
    """A record of processes that each override some fields of a quiet one."""
    images = tuple(samples(f"image{index}") for index in range(4))
    quiet = {"cold_start_seconds": 1.2, "fixed": samples(), "images": images}
    replicates = [
        builders.replicate(**(quiet | {"index": index} | fields))
        for index, fields in enumerate(processes or ({},))
    ]
    return builders.latency(*replicates)


def one_image(**fields):
    """A quiet record but for ``image1``."""
    return latency({"images": (samples("image0"), samples("image1", **fields))})


def messages(record, **options):
    return {notice.code: notice.message for notice in noise_notices(record, **options)}


def conditions(**fields):
    return Conditions(**({"seconds": 10.0, "other_load": 0.0, "steal": 0.0} | fields))


def test_a_quiet_record_has_no_notices():
    assert messages(latency()) == {}
    assert messages(latency({}, {}, {})) == {}


def test_every_kind_has_a_code_of_its_own():
    assert [noise.code for noise in NOISES] == [
        "throttled",
        "other-load",
        "steal",
        "processes-differ",
        "drift",
        "not-steady",
        "wide-interval",
        "outliers",
        "too-short",
        "slow-first-run",
    ]


def test_what_failed_is_passed_over():
    absent = Absent(kind="failed", reason="crashed")
    record = latency({"fixed": absent, "images": absent, "cold_start_seconds": None})
    assert noise_notices(record) == ()


def test_throttling_names_reasons_clock_and_repeats():
    hot = conditions(
        throttle_reasons=("SwPowerCap", "HwThermalSlowdown"), clock_hz=(1.2e9, 1.9e9), repeats=2
    )
    assert messages(one_image(conditions=hot)) == {
        "throttled": "the GPU lowered its clocks (HwThermalSlowdown, SwPowerCap) at 1 of 3 inputs, "
        "with up to 2 repeats; lowest SM clock 1200 MHz at image1"
    }
    fixed = conditions(throttle_reasons=("ApplicationsClocksSetting",))
    assert messages(one_image(conditions=fixed)) == {}
    cured = conditions(clock_hz=(1.2e9, 1.9e9), repeats=2)
    assert messages(one_image(conditions=cured)) == {}


def test_inputs_too_short_to_be_observed_are_judged_by_their_process():
    unknown = conditions(seconds=0.1, other_load=None, steal=None)
    brief = {
        "fixed": samples(conditions=unknown),
        "images": (samples("image0", conditions=unknown),),
    }
    assert messages(latency(brief | {"conditions": conditions(other_load=0.01)})) == {}
    busy = messages(latency(brief | {"conditions": conditions(other_load=0.5)}))
    assert busy == {
        "other-load": "other processes took 50 % of the CPU time while inputs were timed"
    }


def test_other_load_counts_inputs_and_names_the_worst():
    busy = messages(one_image(conditions=conditions(other_load=0.25)))
    assert busy == {
        "other-load": "other processes took 25 % of the CPU time while inputs were timed; "
        "10 % or more at 1 of 3 inputs, most at image1: 25 %"
    }
    assert messages(one_image(conditions=conditions(other_load=0.04))) == {}


def test_load_is_averaged_over_inputs_too_short_to_be_judged_alone():
    brief = samples("image0", conditions=conditions(seconds=0.2, other_load=0.2))
    long = samples("image1", conditions=conditions(seconds=9.8, other_load=0.0))
    assert messages(latency({"images": (brief, long)})) == {}
    assert messages(latency({"images": (brief,)})) == {}
    assert messages(latency({"images": (brief, brief)})) == {
        "other-load": "other processes took 20 % of the CPU time while inputs were timed"
    }


def test_steal_is_told_from_one_in_twenty_on():
    assert "steal" in messages(one_image(conditions=conditions(steal=0.05)))
    assert messages(one_image(conditions=conditions(steal=0.04))) == {}
    assert messages(one_image(conditions=conditions(steal=None, other_load=None))) == {}


def test_one_input_that_others_disturbed_is_told():
    quiet = samples("image0", conditions=conditions(seconds=90.0))
    taken = samples("image1", conditions=conditions(other_load=0.1))
    assert (
        "10 % or more at 1 of 3 inputs"
        in messages(latency({"images": (quiet, taken)}))["other-load"]
    )


def test_processes_that_differ_unusually_are_told():
    slow = samples(seconds=tuple(2.2 * second for second in STEADY))
    assert messages(latency({}, {}, {"fixed": slow})) == {
        "processes-differ": "the slowest process took 120 % more than the fastest at the fixed "
        "input; 3 processes of a quiet machine rarely differ by more than 96.8 %"
    }
    near = samples(seconds=tuple(1.5 * second for second in STEADY))
    assert messages(latency({}, {}, {"fixed": near})) == {}


def rising(change, count=20):
    """Rounds that change evenly by a share."""
    return tuple(np.linspace(1, 1 + change, count))


def test_rounds_that_become_slower_drift():
    seen = messages(latency({}, {"fixed": samples(seconds=rising(0.3))}), target_half_width=0)
    assert seen == {
        "drift": "forwards became slower while they were timed, at 1 of 10 inputs over 2 "
        "processes, most at the fixed input in process 1; the second half of the rounds differs "
        "from the first by 7.62 %"
    }
    # Medians of halves: 1.071 and 1.229 beside 1.000 of the other process.
    shuffled = np.random.default_rng(0).permutation(rising(0.3))
    assert messages(latency({"fixed": samples(seconds=tuple(shuffled))})) == {}


def test_rounds_that_become_faster_ask_for_more_warm_up():
    noise = np.random.default_rng(0).normal(scale=0.02, size=(50, 6))
    falling = np.linspace(1.15, 1, 6) + noise
    images = tuple(samples(f"image{i}", seconds=tuple(row)) for i, row in enumerate(falling))
    (notice,) = noise_notices(latency({"images": images}))
    assert notice.code == "not-steady"
    assert "at 50 of 51 inputs together" in notice.message
    assert "--warmup" in notice.advice


def test_a_trend_that_hardly_moves_the_runtime_is_not_told():
    images = (samples("image0", seconds=rising(-0.2)), *(samples(f"image{n}") for n in range(1, 9)))
    assert messages(latency({"images": images})) == {}


@pytest.mark.parametrize("warming", [(2.0, 1.8, 1.6, 1.5), (1.0, 0.9, 0.31)])
def test_a_warm_up_at_its_bound_is_no_matter_where_rounds_are_steady(warming):
    assert messages(one_image(steady=False, warmup_seconds=warming)) == {}


@pytest.mark.parametrize(
    ("ends", "advice"),
    [
        (("budget", "budget"), "Raise --budget: rounds ended at this limit."),
        (("interval", "max-rounds"), "Raise --rounds: rounds ended at this limit."),
        (("budget", "max-rounds"), "Raise --budget and --rounds: rounds ended at this limit."),
    ],
)
def test_a_wide_interval_names_what_ended_the_rounds(ends, advice):
    wide = (0.6, 0.7, 0.8, 0.9, 1.0, 1.0, 1.1, 1.2, 1.3, 1.4)
    mixed = (*wide[::2], *wide[1::2])
    images = tuple(
        samples(f"image{n}", seconds=mixed, stopped_by=end) for n, end in enumerate(ends)
    )
    (notice,) = noise_notices(latency({"images": images}))
    assert notice.code == "wide-interval"
    assert "the runtime over the images only to 1" in notice.message
    assert notice.advice == advice
    asked = latency({"images": images})
    assert messages(asked, target_half_width=0.3) == {}
    assert messages(asked, target_half_width=0) == {}


def test_an_interval_of_a_few_percent_is_less_than_the_next_process_is_off():
    wide = tuple(1 + 5 * (second - 1) for second in STEADY)
    assert messages(one_image(seconds=wide, stopped_by="budget")) == {}


def test_outliers_are_told_from_one_in_twenty_on():
    spiky = (*STEADY, 3.0)
    several = tuple(samples(f"image{n}", seconds=spiky) for n in range(3))
    assert messages(latency({"images": several})) == {
        "outliers": "3 of 43 forwards lie more than 10 standard deviations off their median, "
        "at 3 of 4 inputs; farthest at image0: by 200 % of it"
    }
    assert messages(one_image(seconds=spiky)) == {}
    crowd = tuple(samples(f"image{index}") for index in range(10))
    assert messages(latency({"images": (*crowd, *several)})) == {}


def test_effects_are_not_told_beside_their_cause():
    busy = conditions(other_load=0.5)
    slower = samples(seconds=rising(0.3), conditions=busy)
    assert list(messages(latency({"fixed": slower}))) == ["other-load"]


def honest_rounds(rng, count, seconds):
    """Rounds as quiet machines have them: noise, speeds that last, and interruptions of 10 ms."""
    resembling = rng.normal(size=count)
    for index in range(1, count):
        resembling[index] = 0.6 * resembling[index - 1] + 0.8 * resembling[index]
    # Once in two inputs the machine changes its speed for the rest of them.
    speed = np.zeros(count)
    speed[rng.integers(count) :] = rng.normal(scale=0.05) * (rng.random() < 0.5)
    interrupted = 0.01 * (rng.random(count) < 0.01)
    rounds: np.ndarray = seconds * np.exp(0.04 * resembling + speed) + interrupted
    return rounds


def honest_samples(rng, name, seconds):
    """One input, warmed up and timed by the default design."""
    design = LatencyDesign()
    scale = seconds * np.exp(rng.normal(scale=0.1))
    cold = iter(1 + rng.uniform(0.2, 1.5) * 0.3 ** np.arange(90))
    supply = iter(np.concatenate([honest_rounds(rng, 45, scale) for _ in range(2)]))
    warmed = warm_up(lambda: next(supply) * next(cold), design)
    timed = time_rounds(lambda _: next(supply), design)
    return samples(
        name,
        warmup_seconds=warmed.seconds,
        steady=warmed.steady,
        seconds=timed.seconds,
        stopped_by=timed.stopped_by,
        conditions=conditions(other_load=rng.uniform(0, 0.03), steal=rng.uniform(0, 0.02)),
    )


@pytest.mark.parametrize(
    ("seconds", "processes"),
    [(0.002, 1), (0.02, 1), (0.25, 1), (2.0, 1), pytest.param(0.02, 3, marks=pytest.mark.slow)],
)
def test_quiet_honest_runs_get_each_notice_in_less_than_one_in_twenty(seconds, processes):
    runs = 150
    rng = np.random.default_rng(int(1e4 * seconds) + processes)
    seen = Counter()
    for _ in range(runs):
        replicates = []
        for _ in range(processes):
            fixed = honest_samples(rng, "fixed", seconds)
            images = tuple(honest_samples(rng, f"image{n}", seconds) for n in range(4))
            cold = fixed.warmup_seconds[0] + 0.05
            replicates.append({"fixed": fixed, "images": images, "cold_start_seconds": cold})
        seen.update(list(messages(latency(*replicates))))
    assert {code: count for code, count in seen.items() if count >= 0.05 * runs} == {}


@pytest.mark.parametrize(("clock", "limit"), [("monotonic", 5e-6), ("cuda-event", 5e-5)])
def test_forwards_too_short_for_their_clock_are_told(clock, limit):
    def times(scale):
        return tuple(scale * second for second in STEADY)

    short = messages(one_image(seconds=times(0.9 * limit), clock=clock))
    assert f"{0.9 * limit * 1e6:.2f} us" in short["too-short"]
    assert messages(one_image(seconds=times(1.1 * limit), clock=clock)) == {}


def test_a_cold_start_is_told_where_most_processes_have_it():
    cold = {"cold_start_seconds": 3.5}
    assert messages(latency(cold)) == {
        "slow-first-run": "the first forward of a process took 2.5 s more than the median at the "
        "same input, 3.5 times as long; it counts as cold start, not as runtime"
    }
    assert messages(latency({"cold_start_seconds": 2.5})) == {}
    assert "at worst of 3 processes" in messages(latency({}, cold, cold))["slow-first-run"]
    assert messages(latency({}, {}, cold)) == {}


def test_a_few_milliseconds_of_cold_start_are_not_told():
    short = samples(seconds=tuple(0.002 * second for second in STEADY))
    assert messages(latency({"fixed": short, "cold_start_seconds": 0.03})) == {}
