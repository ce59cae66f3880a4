"""Suites of several tiny networks: order, interleaving, what is stored when."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import pytest

from esrbench.entries.registry import Registry
from esrbench.errors import RecordError, RegistrationError, UsageError
from esrbench.records import Absent, Latency, Quality, RunRecord, Value
from esrbench.runs.documents import read_record
from esrbench.runs.evaluator import UNTIMED_STEPS_BESIDE_IMAGES
from esrbench.runs.plan import TIMED_STEPS_BESIDE_IMAGES, Suite, plan_entries, plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.entries.descriptor import ModelDescriptor
    from esrbench.protocol import Protocol


@pytest.fixture
def registry(describe: Callable[..., ModelDescriptor]) -> Registry:
    registry = Registry()
    registry.add([describe("FailsToBuild"), describe("Nearest")], origin="tests")
    return registry


@pytest.fixture
def suite(registry: Registry, pair_folder: Path, quick: Protocol) -> Suite:
    names = ["failstobuild", "nearest"]
    return plan_suite(registry, names, [str(pair_folder)], 4, weights={}, protocol=quick)


def test_one_entry_s_failure_does_not_stop_the_suite(suite: Suite, tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []
    store = Store(tmp_path / "results")
    on_step = lambda entry, step: steps.append((entry, step))  # noqa: E731
    records = {record.entry.name: record for record in run_suite(suite, store, on_step=on_step)}
    assert records["nearest"].status == "ok", records["nearest"].cause
    broken = records["failstobuild"]
    assert broken.status == "load-error"
    assert broken.cause == "load-error: ValueError: no room for x4"
    assert "no room for x4" in broken.log_tail
    assert len({record.protocol_digest for record in records.values()}) == 1
    assert {record.run_id for record in store.load()[0]} == {
        record.run_id for record in records.values()
    }
    on_nearest = [step for entry, step in steps if entry == "nearest"]
    beside = UNTIMED_STEPS_BESIDE_IMAGES + TIMED_STEPS_BESIDE_IMAGES
    assert len(on_nearest) == 2 + 2 + beside
    assert suite.steps == 2 * len(on_nearest)
    assert on_nearest[-2:] == ["timing the null network", "comparing with untimed windows"]


@pytest.mark.usefixtures("workers")
def test_finished_runs_are_stored_before_the_next_begins(suite: Suite, tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    first = next(run_suite(suite, store))
    assert read_record(store.runs / f"{first.run_id}.json") == first


def test_equal_images_are_measured_once(
    registry: Registry, pair_folder: Path, quick: Protocol
) -> None:
    specs = [str(pair_folder), f"{pair_folder}/", f"{pair_folder}/../pairs"]
    seen: list[tuple[str, int, int]] = []
    suite = plan_suite(
        registry,
        ["nearest", "nearest"],
        specs,
        4,
        weights={},
        protocol=quick,
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
    describe: Callable[..., ModelDescriptor], pair_folder: Path, quick: Protocol, least: int
) -> None:
    registry = Registry()
    registry.add([describe("Nearest", min_lr_size=least)], origin="tests")
    protocol = quick.model_copy(update={"counted_input": (64, 64)})
    with pytest.raises(UsageError, match=f"needs LR images of {least}x{least} or more"):
        plan_suite(registry, ["nearest"], [str(pair_folder)], 4, weights={}, protocol=protocol)


def test_an_entry_that_needs_larger_images_is_refused_alone(
    describe: Callable[..., ModelDescriptor], pair_folder: Path, quick: Protocol
) -> None:
    registry = Registry()
    large = describe("Plain", name="large", min_lr_size=100)
    registry.add([describe("Nearest"), large], origin="tests")
    plan = partial(
        plan_suite,
        registry,
        ["large", "nearest"],
        [str(pair_folder)],
        4,
        weights={},
        protocol=quick,
    )
    suite = plan()
    assert [entry.descriptor.name for entry in suite.entries] == ["nearest"]
    (rejected,) = suite.rejected
    record = rejected.record(suite.data[0][1], quick, "subprocess")
    assert (record.entry.name, record.entry.factory) == ("large", large.factory)
    assert record.status == "load-error"
    assert record.cause is not None
    assert record.cause.startswith("large needs LR images of 100x100 or more")
    with pytest.raises(UsageError, match="large needs LR images"):
        plan(baseline="large")


def test_a_submission_without_the_scale_is_refused_alone(
    describe: Callable[..., ModelDescriptor], pair_folder: Path, quick: Protocol, tmp_path: Path
) -> None:
    registry = Registry()
    other = describe("Plain", name="a-b", scales=(2,), folder=str(tmp_path))
    registry.add([describe("Nearest"), other], origin="tests")
    plan = partial(plan_suite, registry, weights={}, protocol=quick)
    suite = plan(["a-b", "nearest"], [str(pair_folder)], 4)
    assert [entry.descriptor.name for entry in suite.entries] == ["nearest"]
    assert "not defined at x4" in suite.rejected[0].error.message
    with pytest.raises(UsageError, match="not defined at x4"):
        plan(["a-b"], [str(pair_folder)], 4)


def test_wrong_names_scales_and_weights_are_refused_before_anything_runs(
    registry: Registry,
) -> None:
    with pytest.raises(UsageError, match="nearst"):
        plan_entries(registry, ["nearst"], 4, {})
    with pytest.raises(UsageError, match="not defined at x3"):
        plan_entries(registry, ["nearest"], 3, {})
    with pytest.raises(UsageError, match="weights are given for typo"):
        plan_entries(registry, ["nearest"], 4, {"typo": None})


def processes(protocol: Protocol, count: int) -> Protocol:
    assert protocol.latency is not None
    latency = protocol.latency.model_copy(update={"processes": count})
    return protocol.model_copy(update={"latency": latency})


@pytest.fixture
def trio(
    describe: Callable[..., ModelDescriptor], make_suite: Callable[..., Suite], quick: Protocol
) -> Callable[..., Suite]:
    """Three names of one network in four rounds."""
    descriptors = [describe("Plain", name=name) for name in ("one", "two", "three")]

    def build(count: int = 4, **fields: object) -> Suite:
        return make_suite(*descriptors, protocol=processes(quick, count), **fields)

    return build


@pytest.mark.usefixtures("workers")
def test_entries_are_interleaved_in_a_random_order_that_is_recorded(
    trio: Callable[..., Suite], tmp_path: Path
) -> None:
    loads: list[str] = []

    def on_step(entry: str, step: str) -> None:
        if step == "loading to be timed":
            loads.append(entry)

    suite = trio(order_seed=3, baseline="two")
    records = list(run_suite(suite, Store(tmp_path), on_step=on_step))
    rounds = [loads[first : first + 3] for first in range(0, 12, 3)]
    assert all(sorted(order) == ["one", "three", "two"] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    for record in records:
        assert isinstance(record.latency, Latency)
        assert record.latency.order_seed == 3
        assert record.latency.entries == ("one", "three", "two")
        places = [order.index(record.entry.name) for order in rounds]
        assert [each.position for each in record.latency.replicates] == places
        starts = [each.started for each in record.latency.replicates]
        assert all(earlier < later for earlier, later in itertools.pairwise(starts))
    baseline = next(record for record in records if record.entry.name == "two")
    ratio = baseline.values["runtime_ratio"]
    assert isinstance(ratio, Value)
    assert ratio.value == 1.0
    runtime = baseline.values["runtime_images"]
    assert isinstance(runtime, Value)
    assert runtime.interval is not None
    assert runtime.interval.method == "student"
    assert ratio.interval is None


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(
    ("cut_at", "timed"), [(1, [0, 0, 0]), (5, [1, 1, 2])], ids=["before timing", "in round 2"]
)
def test_what_was_measured_before_an_interruption_is_kept_and_said_to_be_so(
    trio: Callable[..., Suite], tmp_path: Path, cut_at: int, timed: list[int]
) -> None:
    loads = itertools.count(1)

    def on_step(_entry: str, step: str) -> None:
        if step == "loading to be timed" and next(loads) == cut_at:
            raise KeyboardInterrupt

    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(count=2), store, on_step=on_step))
    records, notices = store.load()
    assert notices == []
    counts = [
        len(record.latency.replicates) if isinstance(record.latency, Latency) else 0
        for record in records
    ]
    assert sorted(counts) == timed
    for record, count in zip(records, counts, strict=True):
        expected = "ok" if count == 2 else "interrupted"
        assert record.status == expected, record.cause
        assert isinstance(record.quality, Quality)


@pytest.mark.usefixtures("workers")
def test_a_full_disk_loses_no_other_entry(
    trio: Callable[..., Suite], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    put, full = store.put, iter([True, False, False, False])

    def put_once_full(record: RunRecord) -> Path:
        if next(full):
            message = "no space left"
            raise RecordError(message)
        return put(record)

    monkeypatch.setattr(store, "put", put_once_full)
    with pytest.raises(RecordError, match="no space left"):
        list(run_suite(trio(count=1), store))
    records, _ = store.load()
    # The one that could not be stored is tried again with the others.
    assert [record.entry.name for record in records if record.ranked] != []
    assert {record.entry.name for record in records} == {"one", "two", "three"}


def test_a_broken_submission_gets_a_status_and_the_others_run(
    registry: Registry, pair_folder: Path, quick: Protocol, tmp_path: Path
) -> None:
    registry.broken["team-broken"] = RegistrationError(
        "submissions/team-broken: no manifest", advice="Write submission.toml."
    )
    protocol = quick.model_copy(update={"latency": None})
    names = ["team-broken", "nearest"]
    suite = plan_suite(registry, names, [str(pair_folder)], 4, weights={}, protocol=protocol)
    store = Store(tmp_path / "results")
    broken, honest = run_suite(suite, store)
    assert (broken.entry.name, broken.status) == ("team-broken", "load-error")
    assert broken.cause == "submissions/team-broken: no manifest"
    assert broken.advice == "Write submission.toml."
    assert {type(value) for value in broken.values.values()} == {Absent}
    assert honest.ranked
    assert len(store.load()[0]) == 2
