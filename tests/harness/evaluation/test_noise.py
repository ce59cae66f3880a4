from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluation.noise import NOISES, noise_notices
from harness.records import Absent, Conditions, Latency, LatencySamples, Replicate

STEADY = (1.00, 1.01, 0.99, 1.0, 1.02, 0.98, 1.01, 0.99, 1.0, 1.0)
"""Ten rounds without trend or outlier; half of the interval of their median is 1 %."""


def samples(name: str = "fixed", **fields: Any) -> LatencySamples:
    """One quiet input, about a second a forward."""
    given: dict[str, Any] = {
        "input_name": name,
        "lr_size": (8, 8),
        "clock": "monotonic",
        "first_seconds": 1.2,
        "warmup_seconds": (1.1, 1.0, 1.0),
        "steady": True,
        "seconds": STEADY,
        "stopped_by": "interval",
    }
    return LatencySamples(**(given | fields))


def latency(*replicates: dict[str, Any]) -> Latency:
    """A record of processes that each override some fields of a quiet one."""
    quiet: dict[str, Any] = {
        "position": 0,
        "started": datetime(2026, 1, 1, tzinfo=UTC),
        "cpus": (0,),
        "cold_start_seconds": 1.2,
        "fixed": samples(),
        "images": tuple(samples(f"image{index}") for index in range(4)),
    }
    return Latency(
        session="one",
        order_seed=0,
        entries=("net",),
        variant_seed=0,
        replicates=tuple(
            Replicate(**(quiet | {"index": index} | fields))
            for index, fields in enumerate(replicates or ({},))
        ),
    )


def one_image(**fields: Any) -> Latency:
    """A quiet record but for ``image1``."""
    return latency({"images": (samples("image0"), samples("image1", **fields))})


def messages(record: Latency, **options: Any) -> dict[str, str]:
    return {notice.code: notice.message for notice in noise_notices(record, **options)}


def conditions(**fields: Any) -> Conditions:
    return Conditions(**({"seconds": 10.0, "other_load": 0.0, "steal": 0.0} | fields))


def test_a_quiet_record_has_no_notices() -> None:
    assert messages(latency()) == {}
    assert messages(latency({}, {}, {})) == {}


def test_every_kind_has_a_code_of_its_own_and_advice() -> None:
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
    assert all(noise.advice.endswith(".") for noise in NOISES)


def test_the_guide_names_every_kind() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "measuring.md").read_text()
    notices = guide.partition("\n## Notices\n")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|", notices, re.MULTILINE)
    assert rows == [*(noise.code for noise in NOISES), "outputs-differ"]


def test_what_failed_is_passed_over() -> None:
    absent = Absent(kind="failed", reason="crashed")
    record = latency({"fixed": absent, "images": absent, "cold_start_seconds": None})
    assert noise_notices(record) == ()


def test_throttling_names_reasons_clock_and_repeats() -> None:
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


def test_inputs_too_short_to_be_observed_are_judged_by_their_process() -> None:
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


def test_other_load_counts_inputs_and_names_the_worst() -> None:
    busy = messages(one_image(conditions=conditions(other_load=0.25)))
    assert busy == {
        "other-load": "other processes took 25 % of the CPU time while inputs were timed; "
        "5 % or more at 1 of 3 inputs, most at image1: 25 %"
    }
    assert messages(one_image(conditions=conditions(other_load=0.04))) == {}


def test_load_is_averaged_over_inputs_too_short_to_be_judged_alone() -> None:
    brief = samples("image0", conditions=conditions(seconds=0.2, other_load=0.2))
    long = samples("image1", conditions=conditions(seconds=9.8, other_load=0.0))
    assert messages(latency({"images": (brief, long)})) == {}
    assert messages(latency({"images": (brief,)})) == {}
    assert messages(latency({"images": (brief, brief)})) == {
        "other-load": "other processes took 20 % of the CPU time while inputs were timed"
    }


def test_steal_is_told_from_one_percent_on() -> None:
    assert "steal" in messages(one_image(conditions=conditions(steal=0.01)))
    assert messages(one_image(conditions=conditions(steal=0.009))) == {}
    assert messages(one_image(conditions=conditions(steal=None, other_load=None))) == {}


def test_processes_that_differ_are_told_with_what_rounds_explain() -> None:
    slow = samples(seconds=tuple(1.1 * second for second in STEADY))
    assert messages(latency({}, {}, {"fixed": slow})) == {
        "processes-differ": "the slowest process took 10 % more than the fastest at the fixed "
        "input, where rounds within a process leave 2.1 % open"
    }
    near = samples(seconds=tuple(1.03 * second for second in STEADY))
    assert messages(latency({}, {}, {"fixed": near})) == {}


def test_drift_of_one_input_is_named_with_its_process() -> None:
    rising = samples(seconds=tuple(np.linspace(1, 1.2, 20)))
    seen = messages(latency({}, {"fixed": rising}), target_half_width=0)
    assert seen.pop("processes-differ")
    assert seen == {
        "drift": "forwards drifted from the first to the second half of the rounds at 1 of 10 "
        "inputs over 2 processes, most at the fixed input in process 1: by 10.1 % slower"
    }
    shuffled = samples(seconds=tuple(np.random.default_rng(0).permutation(np.linspace(1, 1.2, 20))))
    assert "drift" not in messages(latency({}, {"fixed": shuffled}))


def test_a_trend_common_to_all_inputs_is_told_together() -> None:
    noise = np.random.default_rng(0).normal(scale=0.02, size=(50, 6))
    falling = np.linspace(1.08, 1, 6) + noise
    images = tuple(samples(f"image{i}", seconds=tuple(row)) for i, row in enumerate(falling))
    message = messages(latency({"images": images}))["drift"]
    assert "over 51 of 51 inputs together" in message
    assert message.endswith("% faster")


def test_a_warm_up_at_its_bound_is_told() -> None:
    warming = (2.0, 1.8, 1.6, 1.5)
    assert messages(one_image(steady=False, warmup_seconds=warming)) == {
        "not-steady": "forwards still became faster when warm-up reached its bound at 1 of 3 "
        "inputs; worst at image1: the last of 4 warm-up forwards took 1.50 times the median"
    }


def test_a_wide_interval_is_told_unless_rounds_ended_by_it() -> None:
    wide = tuple(1 + 5 * (second - 1) for second in STEADY)
    assert messages(one_image(seconds=wide, stopped_by="budget")) == {
        "wide-interval": "half of the median's 95 % interval is above the target of 2 % at 1 of 3 "
        "inputs, widest at image1: 5 %; ended by budget at 1"
    }
    assert messages(one_image(seconds=wide, stopped_by="interval")) == {}
    assert messages(one_image(seconds=wide, stopped_by="budget"), target_half_width=0.06) == {}
    assert messages(one_image(seconds=wide, stopped_by="budget"), target_half_width=0) == {}


def test_outliers_are_told_from_one_in_a_hundred_on() -> None:
    spiky = (*STEADY, 3.0)
    assert messages(one_image(seconds=spiky)) == {
        "outliers": "1 of 31 forwards lie more than 10 standard deviations off their median, "
        "at 1 of 3 inputs; farthest at image1: by 200 % of it"
    }
    crowd = tuple(samples(f"image{index}") for index in range(10))
    assert messages(latency({"images": (*crowd, samples("spiky", seconds=spiky))})) == {}


@pytest.mark.parametrize(("clock", "limit"), [("monotonic", 5e-6), ("cuda-event", 5e-5)])
def test_forwards_too_short_for_their_clock_are_told(clock: str, limit: float) -> None:
    def times(scale: float) -> tuple[float, ...]:
        return tuple(scale * second for second in STEADY)

    short = messages(one_image(seconds=times(0.9 * limit), clock=clock))
    assert f"{0.9 * limit * 1e6:.2f} us" in short["too-short"]
    assert messages(one_image(seconds=times(1.1 * limit), clock=clock)) == {}


def test_a_cold_start_is_told_where_most_processes_have_it() -> None:
    cold = {"cold_start_seconds": 2.5}
    assert messages(latency(cold)) == {
        "slow-first-run": "the first forward of a process took 2500.0 ms, 2.5 times the median at "
        "the same input; it is in the cold start, not in the runtime"
    }
    assert "at worst of 3 processes" in messages(latency({}, cold, cold))["slow-first-run"]
    assert messages(latency({}, {}, cold)) == {}
