"""Whole runs of tiny networks on a folder of two pairs, one network each."""

import numpy as np
import pytest
from fake_worker import FakeWorker
from skimage.metrics import peak_signal_noise_ratio

from esrbench.data.codecs import read_rgb
from esrbench.metrics import METRICS
from esrbench.records import (
    Absent,
    Complexity,
    Latency,
    LatencySamples,
    Quality,
)
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.runs.trust import net_seconds
from esrbench.runtimes import images_seconds


@pytest.fixture(scope="module")
def measure(make_suite, quick, tmp_path_factory):
    """Run networks; their records by name."""

    def run(*descriptors, protocol=quick, **fields):
        store = Store(tmp_path_factory.mktemp("store") / "results")
        trust = protocol.trust.model_copy(update={"scored_variants": 3})
        scoring = protocol.model_copy(update={"trust": trust})
        found = run_suite(make_suite(*descriptors, protocol=scoring, **fields), store)
        return {record.entry.name: record for record in found}

    return run


@pytest.fixture(scope="module")
def records(describe, measure):
    """Of one run of networks whose workers, with their logs, are looked at."""
    return measure(*map(describe, ("Nearest", "Raises", "Exits", "FailsToBuild")))


@pytest.fixture(scope="module")
def scored(describe, measure, worker_pool):
    """Of one run of networks that need no weights to be scored."""
    with worker_pool.in_use():
        return measure(*map(describe, ("Plain", "RandomWithoutWeights")))


def test_an_untrained_network_is_timed_and_counted_but_not_scored(records):
    record = records["nearest"]
    assert record.ranked
    assert set(record.values) == set(METRICS)
    assert record.measured("params") == 12
    assert record.measured("macs_ntire2022") == 16 * 16 * 9
    assert record.quality.reason.startswith("random weights: none are released")
    assert isinstance(record.values["macs_fvcore"], Absent)
    assert record.environment.threads == 1


def test_times_are_those_of_one_fresh_process(records):
    record = records["nearest"]
    assert record.latency.regime == "fresh-processes"
    (replicate,) = record.latency.replicates
    assert [sample.input_name for sample in replicate.images] == ["image0", "image1"]
    assert [sample.lr_size for sample in replicate.images] == [(16, 16), (16, 24)]
    runtime = record.values["runtime_images"]
    medians = [np.median(sample.seconds) for sample in replicate.images]
    trusted = images_seconds(replicate, net_seconds)
    # Of a network of microseconds the evaluator may see nothing, and then there is no runtime.
    if trusted > 0:
        assert runtime.value == pytest.approx(max(np.mean(medians), trusted))
    else:
        assert isinstance(runtime, Absent)
    # The first forward of the process is at the fixed input, and is a warm-up.
    assert replicate.cold_start_seconds == replicate.fixed.warmup_seconds[0]
    assert replicate.conditions is not None
    assert record.measured("cold_start") == replicate.cold_start_seconds
    assert isinstance(record.values["runtime_ratio"], Absent)


def test_scores_are_those_of_an_independent_library(scored, shared_pair_folder):
    # A network without parameters needs no weights, so it is scored.
    record = scored["plain"]
    assert record.entry.weights.source == "none"
    for score in record.quality.images:
        hr = read_rgb(shared_pair_folder / "HR" / f"{score.image}.png")
        lr = read_rgb(shared_pair_folder / "LR_bicubic" / "X4" / f"{score.image}x4.png")
        sr = lr.repeat(4, axis=0).repeat(4, axis=1)
        inner = (slice(4, -4), slice(4, -4))
        expected = peak_signal_noise_ratio(hr[inner], sr[inner], data_range=255)
        assert score.psnr_rgb == pytest.approx(expected, abs=1e-9)
    scores = [score.psnr_rgb for score in record.quality.images]
    assert record.measured("psnr_rgb") == pytest.approx(np.mean(scores))
    # Nearest neighbours do with every variant what they do with the image.
    assert record.trust.variant_images == 2
    assert record.trust.variant_psnr_rgb == record.trust.clean_psnr_rgb
    assert record.trust.repeated_ratio is None or record.trust.repeated_ratio > 0
    assert "outputs-differ" not in {notice.code for notice in record.notices}


def test_what_was_timed_must_be_what_was_scored(scored):
    record = scored["randomwithoutweights"]
    notice = next(notice for notice in record.notices if notice.code == "outputs-differ")
    assert "2 images, such as image0" in notice.message
    # Another run's noise: no two scores of it are alike, and those of the timed pass count.
    assert isinstance(record.quality, Quality)
    assert isinstance(record.latency, Latency)
    assert record.trust.variant_images == 2
    assert record.trust.clean_psnr_rgb != record.trust.variant_psnr_rgb


def test_a_failure_on_one_image_is_named_and_the_other_probes_go_on(records):
    record = records["raises"]
    assert record.status == "forward-error"
    said = "forward-error: image image1: RuntimeError: too wide for me (misbehaving.py, line "
    assert record.cause.startswith(said)
    assert isinstance(record.complexity, Complexity)
    (replicate,) = record.latency.replicates
    assert isinstance(replicate.fixed, LatencySamples)
    assert "image image1: RuntimeError: too wide for me" in replicate.images.reason
    assert "too wide for me" in record.log_tail
    runtime = record.values["runtime_images"]
    assert runtime.kind == "failed"


def test_a_dead_worker_leaves_a_record_of_what_was_reached(records):
    record = records["exits"]
    assert record.status == "crash"
    # A real forward is needed by the counter, and by the timer, each in its own worker.
    assert record.cause == "crash: the worker exited with code 0 during count-complexity"
    assert record.advice == "Last line of its log: so long"
    assert record.latency.replicates[0].images.reason == "an earlier step ended the worker"
    assert record.latency.replicates[0].cold_start_seconds is None


@pytest.mark.usefixtures("lasting_workers")
def test_without_latency_nothing_is_timed_and_sr_images_are_written_as_they_were_scored(
    describe, measure, quick, shared_pair_folder, tmp_path
):
    protocol = quick.model_copy(update={"latency": None})
    record = measure(describe("Plain"), protocol=protocol, sr_folder=tmp_path)["plain"]
    assert isinstance(record.quality, Quality)
    for metric in ("runtime_images", "runtime_fixed", "cold_start"):
        value = record.values[metric]
        assert value.kind == "skipped"
    assert record.status == "ok"
    written = sorted(tmp_path.rglob("*.png"))
    assert [path.parent.name for path in written] == ["plain", "plain"]
    for path, name in zip(written, ("image0", "image1"), strict=True):
        lr = read_rgb(shared_pair_folder / "LR_bicubic" / "X4" / f"{name}x4.png")
        assert np.array_equal(read_rgb(path), lr.repeat(4, axis=0).repeat(4, axis=1))


def test_a_network_that_does_not_load_has_a_record_with_the_reason(records):
    record = records["failstobuild"]
    assert record.status == "load-error"
    assert record.cause.startswith("load-error: ValueError: no room for x4 (misbehaving.py, line ")
    assert "no room for x4" in record.log_tail


@pytest.mark.usefixtures("workers")
def test_a_floor_with_parameters_is_not_scored_on_random_ones(
    make_suite, describe, store, monkeypatch
):
    monkeypatch.setattr(FakeWorker, "parameters", 1)
    (record,) = run_suite(make_suite(describe("Nearest", name="floor", role="floor")), store)
    assert record.entry.weights.source == "random"
    assert isinstance(record.quality, Absent)


@pytest.mark.usefixtures("lasting_workers")
def test_an_entry_without_scores_and_times_must_still_give_an_image_and_be_counted(
    describe, measure, quick
):
    untimed = quick.model_copy(update={"latency": None, "counted_input": (32, 32)})
    names = ("Nearest", "WrongShape", "RaisesOnSquares", "ChangesThreads")
    found = measure(*map(describe, names), protocol=untimed)
    assert found["nearest"].status == "ok", found["nearest"].cause
    assert found["nearest"].quality.kind == "unavailable"
    broken = found["wrongshape"]
    assert broken.entry.weights.source == "random"
    assert broken.status == "invalid-output"
    assert broken.cause.startswith("invalid-output: image image0: ")
    uncounted = found["raisesonsquares"]
    assert uncounted.status == "forward-error"
    assert "no squares of 32" in uncounted.cause
    changed = found["changesthreads"]
    assert changed.status == "forward-error"
    assert "threads" in changed.cause
