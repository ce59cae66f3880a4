"""Runtimes from raw samples, against hand computation."""

import math

import builders
import pytest
from scipy import stats

from esrbench.metrics import METRICS, Findings, extract_values
from esrbench.records import Absent, BaselineTimes, NullSamples, Value
from esrbench.runtimes import images_seconds, times_by_size

NULL = (
    NullSamples(lr_size=(8, 8), delivered_seconds=(0.4, 0.5, 0.9)),
    NullSamples(lr_size=(8, 16), delivered_seconds=(0.25, 0.25)),
)


def samples(name, seconds, *, size=(8, 8), **fields):
    """Rounds that were delivered a second later than they claim to have taken."""
    return builders.samples(
        name,
        size,
        first_seconds=3 * seconds[0],
        seconds=seconds,
        delivered_seconds=tuple(each + 1 for each in seconds),
        **fields,
    )


def replicate(index, *images, fixed):
    cold = fixed.first_seconds
    return builders.replicate(*images, index=index, fixed=fixed, cold_start_seconds=cold, null=NULL)


RUNTIMES = {key for key, metric in METRICS.items() if metric.noisy}


def runtime_values(found, doubts=None):
    values = extract_values(Findings(latency=found, doubts=doubts or {}))
    return {key: values[key] for key in RUNTIMES}


ONE = replicate(
    0,
    samples("a", (1.0, 2.0, 9.0)),
    samples("b", (4.0, 4.0, 4.0), size=(8, 16)),
    fixed=samples("fixed", (5.0, 6.0, 7.0)),
)
TWO = replicate(
    1,
    samples("a", (3.0, 3.0, 3.0)),
    samples("b", (7.0, 7.0, 1.0), size=(8, 16)),
    fixed=samples("fixed", (8.0, 8.0, 9.0)),
)


def claiming(record, factor):
    """The same with claims that are so many times as long."""

    def longer(each):
        return each.model_copy(update={"seconds": tuple(factor * s for s in each.seconds)})

    images = tuple(longer(each) for each in record.images)
    return record.model_copy(update={"images": images, "fixed": longer(record.fixed)})


def test_without_the_fixed_input_the_images_have_their_runtime_all_the_same():
    skipped = Absent(kind="skipped", reason="not asked for")
    alone = ONE.model_copy(update={"fixed": skipped, "cold_start_seconds": None})
    values = runtime_values(builders.latency(alone))
    assert values["runtime_images"].value == 3.625  # the external account, as below
    assert values["runtime_fixed"] == values["cold_start"] == skipped


def test_one_process_gives_the_mean_of_its_images_medians():
    values = runtime_values(builders.latency(claiming(ONE, 2)))
    assert values["runtime_images"].value == 2 * (2.0 + 4.0) / 2
    # Delivered a second later, less the null network's median of the same size.
    assert values["runtime_trusted"].value == ((3.0 - 0.5) + (5.0 - 0.25)) / 2
    assert values["runtime_fixed"].value == 12.0
    assert values["cold_start"].value == 15.0


def test_several_processes_give_a_geometric_mean_with_students_interval():
    three = ONE.model_copy(update={"index": 2})
    # Of processes without a null network there are claims alone.
    bare = [each.model_copy(update={"null": ()}) for each in (ONE, TWO, three)]
    values = runtime_values(builders.latency(*bare))
    runtime = values["runtime_images"]
    figures = [images_seconds(each) for each in (ONE, TWO, three)]
    assert figures == [3.0, 5.0, 3.0]
    assert runtime.value == pytest.approx(stats.gmean(figures))
    logs = [math.log(3), math.log(5), math.log(3)]
    mean = sum(logs) / 3
    low, high = stats.t.interval(0.95, 2, loc=mean, scale=stats.sem(logs))
    assert runtime.interval.low == pytest.approx(math.exp(low))
    assert runtime.interval.high == pytest.approx(math.exp(high))
    assert values["runtime_fixed"].value == pytest.approx(stats.gmean([6.0, 8.0, 6.0]))


@pytest.mark.parametrize("doubted", [False, True])
def test_the_larger_of_claims_and_trusted_time_is_published(doubted):
    doubts = {"claims": DOUBT} if doubted else {}
    values = runtime_values(builders.latency(ONE), doubts)
    assert values["runtime_images"].value == ((3.0 - 0.5) + (5.0 - 0.25)) / 2
    assert values["runtime_fixed"].value == 7.0 - 0.5
    boasting = runtime_values(builders.latency(claiming(ONE, 10)), doubts)
    assert boasting["runtime_images"].value == 10 * 3.0
    assert boasting["runtime_fixed"].value == 10 * 6.0


DOUBT = Absent(kind="unavailable", reason="doubted")


@pytest.mark.parametrize(
    ("account", "absent"),
    [
        ("claims", {"cold_start", "runtime_with_bicubic"}),
        ("fixed", {"runtime_fixed"}),
        ("images", RUNTIMES - {"runtime_fixed", "cold_start"}),
    ],
)
def test_no_runtime_rests_on_a_doubted_account(account, absent):
    values = runtime_values(builders.latency(ONE), {account: DOUBT})
    assert {key for key, found in values.items() if found == DOUBT} == absent


def test_without_a_null_network_nothing_is_trusted():
    bare = ONE.model_copy(update={"null": ()})
    values = runtime_values(builders.latency(bare))
    assert values["runtime_images"].value == 3.0
    assert values["runtime_trusted"].kind == "failed"


def test_a_time_no_longer_than_the_null_network_s_is_absent():
    slow_null = (NullSamples(lr_size=(8, 8), delivered_seconds=(100.0,)),)
    fast = replicate(0, samples("a", (1.0,)), fixed=samples("fixed", (1.0,)))
    values = runtime_values(builders.latency(fast.model_copy(update={"null": slow_null})))
    for metric in ("runtime_trusted", "runtime_images", "runtime_fixed"):
        found = values[metric]
        assert found.kind == "unavailable"


def test_two_processes_have_no_interval():
    assert runtime_values(builders.latency(ONE, TWO))["runtime_images"].interval is None


def test_the_ratio_to_the_baseline_is_taken_round_by_round():
    baseline = BaselineTimes(
        name="base",
        images_seconds=(1.5, 10.0),
        trusted_seconds=(1.0, 20.0),
        fixed_seconds=(1.0, 1.0),
    )
    record = builders.latency(ONE, TWO, baseline=baseline)
    # The larger of claims and trusted times: 3.625 of 3 and 3.625, 5.625 of 5 and 5.625.
    ratio = runtime_values(record)["runtime_ratio"]
    assert ratio.value == pytest.approx(math.sqrt(3.625 / 1.5 * 5.625 / 20))
    # A round in which either has a time that is none is left out.
    fast = baseline.model_copy(update={"trusted_seconds": (1.0, -0.5)})
    one_round = runtime_values(builders.latency(ONE, TWO, baseline=fast))["runtime_ratio"]
    assert one_round == Value(value=math.exp(math.log(3.625 / 1.5)))


def test_a_baseline_that_failed_leaves_no_ratio():
    baseline = BaselineTimes(
        name="base", images_seconds=(None,), trusted_seconds=(None,), fixed_seconds=(None,)
    )
    ratio = runtime_values(builders.latency(ONE, baseline=baseline))["runtime_ratio"]
    assert "base" in ratio.reason


def test_enlargement_and_network_are_added_by_their_medians():
    # As many rounds of each as its own noise asked for.
    image = samples("a", (1.0, 2.0, 3.0), preparation_seconds=(0.5, 0.1, 0.2, 0.2, 0.6))
    record = builders.latency(replicate(0, image, fixed=samples("fixed", (1.0,))))
    assert runtime_values(record)["runtime_with_bicubic"].value == pytest.approx(2.2)
    assert isinstance(runtime_values(builders.latency(ONE))["runtime_with_bicubic"], Absent)


def test_a_failed_part_leaves_every_runtime_absent_for_its_reason():
    gone = Absent(kind="failed", reason="crash: gone")
    broken = ONE.model_copy(update={"images": gone})
    assert set(runtime_values(builders.latency(broken)).values()) == {gone}
    assert set(runtime_values(gone).values()) == {gone}


def test_spread_is_given_for_each_size():
    small, wide = times_by_size(builders.latency(ONE, TWO))
    assert (small.lr_size, small.images, small.rounds) == ((8, 8), 1, 6)
    assert small.median == 3.0
    # Linear interpolation between order statistics of 1, 2, 3, 3, 3, 9.
    assert small.p5 == pytest.approx(1.25)
    assert small.p95 == pytest.approx(7.5)
    assert (wide.lr_size, wide.images, wide.rounds) == ((8, 16), 1, 6)
