"""Suites of several tiny networks: what is planned, order, interleaving, what is stored when."""

import itertools
from functools import partial

import pytest

from esrbench.entries.registry import Registry
from esrbench.errors import RecordError, RegistrationError, UsageError
from esrbench.records import Absent, Latency, Quality
from esrbench.runs.documents import read_any
from esrbench.runs.events import SuiteEvents
from esrbench.runs.plan import plan_entries, plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError


@pytest.fixture
def registry(describe):
    registry = Registry()
    registry.add([describe("FailsToBuild"), describe("Nearest")], origin="tests")
    return registry


@pytest.fixture
def plan(registry, shared_pair_folder, quick):
    """Plan a suite of some names in that registry."""

    def build(*names, protocol=quick, **fields):
        data = fields.pop("data", [str(shared_pair_folder)])
        scale = fields.pop("scale", 4)
        return plan_suite(registry, names, data, scale, weights={}, protocol=protocol, **fields)

    return build


def test_one_entry_s_failure_does_not_stop_the_suite(plan, store, registry, quick, workers):
    workers.of = {"failstobuild": WorkerError("load-error", "no room for x4", fatal=False)}
    registry.broken["team-broken"] = RegistrationError(
        "submissions/team-broken: no manifest", advice="Write submission.toml."
    )
    suite = plan("team-broken", "failstobuild", "nearest")
    steps = []
    on_step = lambda entry, step: steps.append((entry, step))  # noqa: E731
    records = {
        record.entry.name: record
        for record in run_suite(suite, store, events=SuiteEvents(on_step=on_step))
    }
    assert records["nearest"].status == "ok", records["nearest"].cause
    assert records["failstobuild"].cause == "load-error: no room for x4"
    broken = records["team-broken"]
    assert broken.status == "load-error"
    assert broken.cause == "submissions/team-broken: no manifest"
    assert broken.advice == "Write submission.toml."
    assert {type(value) for value in broken.values.values()} == {Absent}
    assert {record.protocol_digest for record in records.values()} == {quick.digest()}
    stored = {record.run_id for record in store.load()[0]}
    assert stored == {record.run_id for record in records.values()}
    on_nearest = [step for entry, step in steps if entry == "nearest"]
    assert on_nearest[-2:] == ["timing the null network", "comparing with untimed windows"]


@pytest.mark.usefixtures("workers")
def test_finished_runs_are_stored_before_the_next_begins(plan, store):
    first = next(run_suite(plan("failstobuild", "nearest"), store))
    assert read_any(store.runs / f"{first.run_id}.json") == first


def test_equal_images_are_measured_once(plan, shared_pair_folder):
    folder = shared_pair_folder
    specs = [str(folder), f"{folder}/", f"{folder}/../pairs"]
    seen = []
    suite = plan("nearest", "nearest", data=specs, on_image=lambda *image: seen.append(image))
    assert len(suite.data) == len(suite.entries) == 1
    assert seen[-1] == (specs[-1], 2, 2)


def test_an_unwritable_results_folder_is_found_before_anything_runs(plan, tmp_path):
    (tmp_path / "results").write_text("in the way")
    steps = []
    suite, store = plan("nearest"), Store(tmp_path / "results")
    with pytest.raises(RecordError, match="records cannot be written"):
        next(
            run_suite(suite, store, events=SuiteEvents(on_step=lambda _, step: steps.append(step)))
        )
    assert steps == []


@pytest.mark.parametrize("least", [17, 100])
def test_an_entry_that_needs_larger_images_is_rejected_alone(
    describe, registry, plan, quick, least
):
    large = describe("Plain", name="large", min_lr_size=least)
    registry.add([large], origin="tests")
    plan = partial(plan, protocol=quick.model_copy(update={"counted_input": (64, 64)}))
    with pytest.raises(UsageError, match=f"large needs LR images of {least}x{least} or more"):
        plan("large")
    with pytest.raises(UsageError, match="large needs LR images"):
        plan("large", "nearest", baseline="large")
    suite = plan("large", "nearest")
    assert [entry.descriptor.name for entry in suite.entries] == ["nearest"]
    (rejected,) = suite.rejected
    record = rejected.record(suite.data[0][1], quick, "subprocess")
    assert (record.entry.name, record.entry.factory) == ("large", large.factory)
    assert record.status == "load-error"
    assert record.cause.startswith(f"large needs LR images of {least}x{least} or more")


def test_a_submission_without_the_scale_is_rejected_alone(describe, registry, plan, tmp_path):
    other = describe("Plain", name="a-b", scales=(2,), folder=str(tmp_path))
    registry.add([other], origin="tests")
    suite = plan("a-b", "nearest")
    assert [entry.descriptor.name for entry in suite.entries] == ["nearest"]
    assert "not defined at x4" in suite.rejected[0].error.message
    with pytest.raises(UsageError, match="not defined at x4"):
        plan("a-b")


@pytest.mark.parametrize(
    ("name", "scale", "weights", "says"),
    [
        ("nearst", 4, {}, "nearst"),
        ("nearest", 3, {}, "not defined at x3"),
        ("nearest", 4, {"typo": None}, "weights are given for typo"),
    ],
)
def test_wrong_names_scales_and_weights_are_refused(registry, name, scale, weights, says):
    with pytest.raises(UsageError, match=says):
        plan_entries(registry, [name], scale, weights)


@pytest.mark.usefixtures("workers")
def test_entries_are_interleaved_in_a_random_order_that_is_recorded(trio, store):
    loads = []

    def on_step(entry, step):
        if step == "loading to be timed":
            loads.append(entry)

    suite = trio(processes=4, order_seed=3, baseline="two")
    records = list(run_suite(suite, store, events=SuiteEvents(on_step=on_step)))
    rounds = [loads[first : first + 3] for first in range(0, 12, 3)]
    assert all(sorted(order) == ["one", "three", "two"] for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    for record in records:
        assert record.latency.order_seed == 3
        assert record.latency.entries == ("one", "three", "two")
        places = [order.index(record.entry.name) for order in rounds]
        assert [each.position for each in record.latency.replicates] == places
        starts = [each.started for each in record.latency.replicates]
        assert all(earlier < later for earlier, later in itertools.pairwise(starts))
    baseline = next(record for record in records if record.entry.name == "two")
    ratio, runtime = (baseline.values[name] for name in ("runtime_ratio", "runtime_images"))
    assert (ratio.value, ratio.interval) == (1.0, None)
    assert runtime.interval.method == "student"


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize(
    ("cut_at", "timed"), [(1, [0, 0, 0]), (5, [1, 1, 2])], ids=["before timing", "in round 2"]
)
def test_what_was_measured_before_an_interruption_is_kept_and_said_to_be_so(
    trio, store, cut_at, timed
):
    loads = itertools.count(1)

    def on_step(_entry, step):
        if step == "loading to be timed" and next(loads) == cut_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_suite(trio(), store, events=SuiteEvents(on_step=on_step)))
    records, notices = store.load()
    assert notices == []
    counts = [
        len(record.latency.replicates) if isinstance(record.latency, Latency) else 0
        for record in records
    ]
    assert sorted(counts) == timed
    for record, count in zip(records, counts, strict=True):
        assert record.status == ("ok" if count == 2 else "interrupted"), record.cause
        assert isinstance(record.quality, Quality)


@pytest.mark.usefixtures("workers")
def test_a_full_disk_loses_no_other_entry(trio, store, monkeypatch):
    put, full = store.put, iter([True, False, False, False])

    def put_once_full(record):
        if next(full):
            raise RecordError("no space left")
        return put(record)

    monkeypatch.setattr(store, "put", put_once_full)
    with pytest.raises(RecordError, match="no space left"):
        list(run_suite(trio(processes=1), store))
    records, _ = store.load()
    # The one that could not be stored is tried again with the others.
    assert [record.entry.name for record in records if record.ranked] != []
    assert {record.entry.name for record in records} == {"one", "two", "three"}


def test_each_entry_runs_in_the_precision_that_it_declares(
    describe, registry, plan, store, quick, workers
):
    half = describe("Plain", name="half", precision="fp16")
    registry.add([half], origin="tests")
    latency = quick.latency.model_copy(update={"processes": 2})
    protocol = quick.model_copy(update={"latency": latency})
    suite = plan("nearest", "half", protocol=protocol, own_precision=True)
    records = {record.entry.name: record for record in run_suite(suite, store)}
    classes = {name: record.protocol.forward.label for name, record in records.items()}
    assert classes == {"nearest": "fp32", "half": "fp16"}
    assert records["nearest"].protocol == protocol
    # The null network is timed in the arithmetic of each.
    assert workers.started.count("null") == 2
    # What is asked for goes before what is declared, and the record says so.
    told = {each.entry.name: each.notices for each in run_suite(plan("half"), store)}
    assert told == {"half": ()}
    assert plan("half").digest() != plan("half", own_precision=True).digest()
    assert plan("nearest").digest() == plan("nearest", own_precision=True).digest()


def test_a_rejected_entry_is_in_its_class(describe, registry, plan, quick):
    large = describe("Plain", name="large", min_lr_size=100, precision="bf16")
    registry.add([large], origin="tests")
    suite = plan("large", "nearest", own_precision=True)
    protocol = suite.protocol_of("large")
    assert protocol.forward.label == "bf16"
    assert suite.protocol_of("nearest") == quick
    (rejected,) = suite.rejected
    record = rejected.record(suite.data[0][1], protocol, "subprocess")
    assert record.protocol.forward.label == "bf16"
