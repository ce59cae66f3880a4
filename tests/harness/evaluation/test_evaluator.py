"""Whole runs of tiny networks on a folder of two pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from harness.catalog.datasets import open_dataset
from harness.catalog.networks import resolve_weights
from harness.catalog.registry import Registry
from harness.errors import RecordError, UsageError
from harness.evaluation.evaluator import STEPS_BESIDE_IMAGES, Entry, measure_entry
from harness.evaluation.suite import Suite, plan_entries, plan_suite, run_suite
from harness.imaging.codecs import read_rgb
from harness.metrics import METRICS
from harness.protocol import LatencyDesign, Protocol
from harness.records import Absent, Complexity, LatencySamples, Quality, Value
from harness.store import Store, read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.catalog.registry import ModelDescriptor
    from harness.records import RunRecord

QUICK = Protocol(
    threads=1,
    counted_input=(16, 16),
    counters=("ntire2022", "aten"),
    latency=LatencyDesign(warmup_rounds=1, min_rounds=2, max_rounds=2),
)


def measure(descriptor: ModelDescriptor, folder: Path, protocol: Protocol = QUICK) -> RunRecord:
    pairs = open_dataset(str(folder), 4)
    entry = Entry(descriptor, 4, resolve_weights(descriptor, 4))
    return measure_entry(entry, pairs, pairs.identity(), protocol)


def test_an_untrained_network_is_timed_and_counted_but_not_scored(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    record = measure(describe("Nearest"), pair_folder)
    assert record.status == "ok"
    assert set(record.values) == set(METRICS)
    assert record.measured("params") == 12
    assert record.measured("macs_ntire2022") == 16 * 16 * 9
    assert isinstance(record.quality, Absent)
    assert record.quality.reason.startswith("random weights: none are released")
    assert isinstance(record.image_latencies, tuple)
    assert [sample.input_name for sample in record.image_latencies] == ["image0", "image1"]
    assert [sample.lr_size for sample in record.image_latencies] == [(16, 16), (16, 24)]
    runtime = record.values["runtime_images"]
    assert isinstance(runtime, Value)
    medians = [np.median(sample.seconds) for sample in record.image_latencies]
    assert runtime.value == pytest.approx(np.mean(medians))
    assert isinstance(record.values["macs_fvcore"], Absent)
    assert record.environment.threads == 1


def test_scores_are_those_of_an_independent_library(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    # A network without parameters needs no weights, so it is scored.
    record = measure(describe("Plain"), pair_folder)
    assert record.entry.weights.source == "none"
    assert isinstance(record.quality, Quality)
    for score in record.quality.images:
        hr = read_rgb(pair_folder / "HR" / f"{score.image}.png")
        lr = read_rgb(pair_folder / "LR_bicubic" / "X4" / f"{score.image}x4.png")
        sr = lr.repeat(4, axis=0).repeat(4, axis=1)
        inner = (slice(4, -4), slice(4, -4))
        expected = peak_signal_noise_ratio(hr[inner], sr[inner], data_range=255)
        assert score.psnr_rgb == pytest.approx(expected, abs=1e-9)
    scores = [score.psnr_rgb for score in record.quality.images]
    assert record.measured("psnr_rgb") == pytest.approx(np.mean(scores))  # type: ignore[arg-type]


def test_a_failure_on_one_image_is_named_and_the_other_probes_go_on(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    record = measure(describe("Raises"), pair_folder)
    assert record.status == "failed"
    assert isinstance(record.quality, Absent)
    assert record.quality.kind == "failed"
    assert "image image1: RuntimeError: too wide for me" in record.quality.reason
    assert isinstance(record.complexity, Complexity)
    assert isinstance(record.fixed_latency, LatencySamples)
    assert "too wide for me" in record.log_tail


def test_a_dead_worker_leaves_a_record_of_what_was_reached(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    record = measure(describe("Exits"), pair_folder)
    assert record.status == "failed"
    assert record.failure() == "crash: image image0: the worker exited with code 0 during upscale"
    for part in (record.complexity, record.memory):
        assert isinstance(part, Absent)
        assert part.reason == "an earlier step ended the worker"


def test_without_latency_nothing_is_timed(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    protocol = QUICK.model_copy(update={"latency": None})
    record = measure(describe("Plain"), pair_folder, protocol)
    assert record.status == "ok"
    for metric in ("runtime_images", "runtime_fixed"):
        value = record.values[metric]
        assert isinstance(value, Absent)
        assert value.kind == "skipped"
    assert isinstance(record.quality, Quality)


def test_a_floor_with_parameters_is_not_scored_on_random_ones(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    record = measure(describe("Nearest", role="floor"), pair_folder)
    assert record.entry.weights.source == "random"
    assert isinstance(record.quality, Absent)


def test_a_counter_that_fails_fails_the_run(
    describe: Callable[..., ModelDescriptor], pair_folder: Path
) -> None:
    protocol = QUICK.model_copy(update={"counted_input": (32, 32)})
    record = measure(describe("RaisesOnSquares"), pair_folder, protocol)
    assert record.status == "failed"
    assert "no squares of 32" in (record.failure() or "")


@pytest.fixture
def registry(describe: Callable[..., ModelDescriptor]) -> Registry:
    registry = Registry()
    registry.add([describe("FailsToBuild"), describe("Nearest")], origin="tests")
    return registry


@pytest.fixture
def suite(registry: Registry, pair_folder: Path) -> Suite:
    names = ["failstobuild", "nearest"]
    return plan_suite(registry, names, [str(pair_folder)], 4, weights={}, protocol=QUICK)


def test_one_entry_s_failure_does_not_stop_the_suite(suite: Suite, tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []
    store = Store(tmp_path / "results")
    records = list(run_suite(suite, store, on_step=lambda entry, step: steps.append((entry, step))))
    assert [record.status for record in records] == ["failed", "ok"]
    assert "no room for x4" in (records[0].failure() or "")
    assert records[0].protocol_digest == records[1].protocol_digest
    assert store.load()[0] == records
    on_nearest = [step for entry, step in steps if entry == "nearest"]
    assert len(on_nearest) == 2 + STEPS_BESIDE_IMAGES == suite.steps // 2


def test_finished_runs_are_stored_before_the_next_begins(suite: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    first = next(run_suite(suite, store))
    assert read_record(store.runs / f"{first.run_id}.json") == first


def test_equal_images_are_measured_once(registry: Registry, pair_folder: Path) -> None:
    specs = [str(pair_folder), f"{pair_folder}/", f"{pair_folder}/../pairs"]
    seen: list[tuple[str, int, int]] = []
    suite = plan_suite(
        registry,
        ["nearest", "nearest"],
        specs,
        4,
        weights={},
        protocol=QUICK,
        on_image=lambda *image: seen.append(image),
    )
    assert len(suite.data) == len(suite.entries) == 1
    assert seen[-1] == (specs[-1], 2, 2)


def test_an_unwritable_results_folder_is_found_before_anything_runs(
    suite: Suite, tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("in the way")
    steps: list[str] = []
    with pytest.raises(RecordError, match="records cannot be written"):
        next(run_suite(suite, Store(tmp_path / "results"), on_step=lambda _, s: steps.append(s)))
    assert steps == []


@pytest.mark.parametrize("least", [17, 100])
def test_images_below_a_network_s_least_size_are_refused_before_anything_runs(
    describe: Callable[..., ModelDescriptor], pair_folder: Path, least: int
) -> None:
    registry = Registry()
    registry.add([describe("Nearest", min_lr_size=least)], origin="tests")
    protocol = QUICK.model_copy(update={"counted_input": (64, 64)})
    with pytest.raises(UsageError, match=f"needs LR images of {least}x{least} or more"):
        plan_suite(registry, ["nearest"], [str(pair_folder)], 4, weights={}, protocol=protocol)


def test_wrong_names_scales_and_weights_are_refused_before_anything_runs(
    registry: Registry,
) -> None:
    with pytest.raises(UsageError, match="nearst"):
        plan_entries(registry, ["nearst"], 4, {})
    with pytest.raises(UsageError, match="not defined at x3"):
        plan_entries(registry, ["nearest"], 3, {})
    with pytest.raises(UsageError, match="weights are given for typo"):
        plan_entries(registry, ["nearest"], 4, {"typo": None})
