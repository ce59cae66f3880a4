"""Suites that are taken up again, with workers that answer at once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.errors import MeasurementError, RecordError, RegistrationError
from esrbench.records import Latency, Notice, RunRecord, WeightsIdentity
from esrbench.runs.rejected import RejectedEntry
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.protocol import Protocol
    from esrbench.runs.plan import Suite

NAMES = ("one", "two", "three")
PASSES = 3
"""Of an entry: one untimed, two timed."""


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    """A file of its own for each entry."""
    files = {name: tmp_path / "code" / f"{name}.py" for name in NAMES}
    for file in files.values():
        file.parent.mkdir(exist_ok=True)
        file.write_text("class Net: ...\n")
    return files


@pytest.fixture
def suite(
    make_suite: Callable[..., Suite], quick: Protocol, sources: dict[str, Path]
) -> Callable[..., Suite]:
    def build(**fields: Any) -> Suite:
        assert quick.latency is not None
        latency = quick.latency.model_copy(update={"processes": 2})
        trust = quick.trust.model_copy(update={"repeated_rounds": 0})
        protocol = quick.model_copy(update={"latency": latency, "trust": trust})
        descriptors = [
            ModelDescriptor(name=name, summary="test network", scales=(4,), factory=f"{file}:Net")
            for name, file in sources.items()
        ]
        return make_suite(*descriptors, protocol=fields.pop("protocol", protocol), **fields)

    return build


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results")


def statuses(store: Store) -> list[tuple[str, str]]:
    records, notices = store.load()
    assert notices == []
    return sorted((record.entry.name, record.status) for record in records)


ALL_OK = [(name, "ok") for name in sorted(NAMES)]


def cut_short(suite: Suite, store: Store, workers: Any, at: int, **options: Any) -> None:
    """Run a suite until a worker is started."""
    workers.at = {len(workers.started) + at: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(suite, store, **options))


@pytest.mark.parametrize(
    ("at", "baseline"),
    [*((at, None) for at in (1, 2, 4, 5, 6, 7, 8, 10)), (2, "two"), (7, "two"), (10, "two")],
)
def test_a_suite_cut_short_anywhere_goes_on_there(
    suite: Callable[..., Suite], store: Store, workers: Any, at: int, baseline: str | None
) -> None:
    planned = suite(baseline=baseline, order_seed=3)
    uncut = list(run_suite(planned, Store(store.folder / "uncut")))
    workers.networks()
    cut_short(planned, store, workers, at)
    interrupted = {each.run_id: each.status for each in store.load()[0]}
    known: list[RunRecord] = []
    new = list(run_suite(planned, store, resume=True, on_known=known.append))
    # The pass that was cut short, if it was not the null network, is the only one made twice.
    assert len(workers.networks()) - 3 * PASSES == int(at != 4)
    assert statuses(store) == ALL_OK
    assert sorted(record.entry.name for record in (*known, *new)) == sorted(NAMES)
    records = {record.run_id: record for record in store.load()[0]}
    assert set(interrupted) <= set(records)
    latencies = [record.latency for record in records.values()]
    assert all(isinstance(each, Latency) for each in latencies)
    assert len({(each.session, each.variant_seed) for each in latencies}) == 1
    places = {
        record.entry.name: [each.position for each in record.latency.replicates]
        for record in records.values()
    }
    assert places == {
        record.entry.name: [each.position for each in record.latency.replicates] for record in uncut
    }
    for record in records.values():
        starts = [each.started for each in record.latency.replicates]
        assert starts == sorted(starts)
        assert (record.latency.baseline is None) == (baseline is None)
        resumed = any(notice.code == "resumed" for notice in record.notices)
        assert resumed == _parted(record, at)
    assert list(store.passes.iterdir()) == []


def _parted(record: RunRecord, at: int) -> bool:
    """Whether the first of its two timed passes was made before the cut, the second after."""
    first, second = (each.position for each in record.latency.replicates)
    # Starts: three untimed, the null, three in one order and three in another.
    return 5 + first < at <= 8 + second


def test_a_finished_suite_is_not_made_again_unless_one_asks(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    first = list(run_suite(suite(), store))
    workers.networks()
    known: list[RunRecord] = []
    assert list(run_suite(suite(), store, resume=True, on_known=known.append)) == []
    assert workers.started == []
    assert sorted(each.run_id for each in known) == sorted(each.run_id for each in first)
    again = list(run_suite(suite(), store))
    assert len(workers.networks()) == 3 * PASSES
    assert not {each.run_id for each in again} & {each.run_id for each in first}
    assert len({each.latency.session for each in (*first, *again)}) == 2


@pytest.mark.parametrize("at", [None, 8], ids=["finished", "cut short"])
def test_an_entry_whose_code_changed_is_measured_again_and_no_other(
    suite: Callable[..., Suite],
    store: Store,
    workers: Any,
    sources: dict[str, Path],
    at: int | None,
) -> None:
    if at is None:
        list(run_suite(suite(), store))
    else:
        cut_short(suite(), store, workers, at)
    # The last one was cut short.
    made = workers.networks()[:-1]
    sources["two"].write_text("class Net: changed = True\n")
    list(run_suite(suite(), store, resume=True))
    left = PASSES if at is None else 3 * PASSES - len([n for n in made if n != "two"])
    again = workers.networks()
    assert again.count("two") == PASSES
    assert len(again) == left
    newest = {record.entry.name: record for record in store.load()[0]}
    assert {record.status for record in newest.values()} == {"ok"}
    assert len(newest["two"].latency.replicates) == 2


def changed_weights(suite: Suite) -> Suite:
    first, *others = suite.entries
    identity = WeightsIdentity(source="file", sha256="a" * 64)
    weights = replace(first.weights, identity=identity)
    return replace(suite, entries=(replace(first, weights=weights), *others))


def changed_data(suite: Suite) -> Suite:
    pairs, identity = suite.data[0]
    return replace(suite, data=((pairs, identity.model_copy(update={"digest": "b" * 64})),))


def changed_protocol(suite: Suite) -> Suite:
    return replace(suite, protocol=suite.protocol.model_copy(update={"seed": 1}))


@pytest.mark.parametrize(
    ("change", "passes"),
    [(changed_weights, PASSES), (changed_data, 3 * PASSES), (changed_protocol, 3 * PASSES)],
)
def test_what_is_of_another_fingerprint_is_not_taken_over(
    suite: Callable[..., Suite],
    store: Store,
    workers: Any,
    change: Callable[[Suite], Suite],
    passes: int,
) -> None:
    list(run_suite(suite(), store))
    workers.networks()
    list(run_suite(change(suite()), store, resume=True))
    assert len(workers.networks()) == passes


def test_another_harness_or_machine_is_another_fingerprint(
    suite: Callable[..., Suite], store: Store, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_short(suite(), store, workers, 8)
    workers.networks()
    for where, value in (
        ("esrbench.runs.fingerprint.harness_sha256", lambda: "c" * 64),
        ("esrbench.environment.cpu_name", lambda: "another"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, value)
            list(run_suite(suite(), store, resume=True))
        assert len(workers.networks()) == 3 * PASSES


def test_a_failed_entry_is_finished_and_an_infrastructure_error_is_not(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    workers.of = {
        "one": WorkerError("load-error", "no such layer", fatal=False),
        "null": MeasurementError("no worker could be started"),
    }
    list(run_suite(suite(), store))
    assert statuses(store) == [
        ("one", "load-error"),
        ("three", "infra-error"),
        ("two", "infra-error"),
    ]
    workers.networks()
    workers.of = {}
    known: list[RunRecord] = []
    list(run_suite(suite(), store, resume=True, on_known=known.append))
    assert [record.entry.name for record in known] == ["one"]
    assert sorted(set(workers.networks())) == ["three", "two"]
    newest = {record.entry.name: record.status for record in store.load()[0]}
    assert newest == {"one": "load-error", "two": "ok", "three": "ok"}


def test_passes_that_infrastructure_spoilt_are_made_again(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    workers.of = {"null": MeasurementError("no worker could be started")}
    cut_short(suite(), store, workers, 8)
    workers.of = {}
    workers.networks()
    list(run_suite(suite(), store, resume=True))
    # The untimed passes were sound; no timed one was.
    assert len(workers.networks()) == 3 * 2
    assert statuses(store) == ALL_OK


def test_the_baseline_runs_beside_entries_that_are_left(
    suite: Callable[..., Suite], store: Store, workers: Any, sources: dict[str, Path]
) -> None:
    list(run_suite(suite(baseline="two"), store))
    workers.networks()
    sources["one"].write_text("class Net: changed = True\n")
    known: list[RunRecord] = []
    new = list(run_suite(suite(baseline="two"), store, resume=True, on_known=known.append))
    assert [record.entry.name for record in known] == ["three"]
    assert sorted(record.entry.name for record in new) == ["one", "two"]
    (record,) = (record for record in new if record.entry.name == "one")
    assert record.latency.entries == ("one", "two")
    assert record.latency.baseline is not None


def test_the_newest_suite_that_did_not_end_is_taken_up_and_its_end_is_that_of_older_ones(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    cut_short(suite(), store, workers, 3)
    cut_short(suite(), store, workers, 8)
    assert len(store.suites()) == 2
    workers.networks()
    list(run_suite(suite(), store, resume=True))
    assert len(workers.networks()) == 3
    assert store.suites() == []
    cut_short(suite(order_seed=1), store, workers, 8)
    workers.networks()
    list(run_suite(suite(), store))
    # It was of another plan.
    assert len(store.suites()) == 1


def test_a_corrupt_pass_is_named_and_made_again(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    cut_short(suite(), store, workers, 8)
    workers.networks()
    (part, *_) = sorted(store.passes.glob("*/*.timed-000.json"))
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    notices: list[Notice] = []
    list(run_suite(suite(), store, resume=True, on_notice=notices.append))
    assert [notice.code for notice in notices] == ["corrupt-record"]
    assert part.name in notices[0].message
    assert len(workers.networks()) == 3 + 1
    assert statuses(store) == ALL_OK


def test_each_data_set_is_finished_by_itself(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    one = suite()
    two = replace(one, data=(*one.data, *changed_data(one).data))
    # Ten workers of the first data set, the null's among them, and two of the second.
    cut_short(two, store, workers, 13)
    workers.networks()
    known: list[RunRecord] = []
    new = list(run_suite(two, store, resume=True, on_known=known.append))
    assert len(workers.networks()) == 3 * PASSES - 2
    assert [len(known), len(new)] == [3, 3]
    assert statuses(store) == sorted([*ALL_OK, *ALL_OK])
    assert len({record.latency.session for record in store.load()[0]}) == 2


def test_a_submission_that_cannot_run_is_recorded_once(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    rejected = RejectedEntry("broken", 4, RegistrationError("submission.toml: no factory"))
    planned = replace(suite(), rejected=(rejected,))
    cut_short(planned, store, workers, 3)
    known: list[RunRecord] = []
    for _ in range(2):
        list(run_suite(planned, store, resume=True, on_known=known.append))
    assert statuses(store) == [("broken", "load-error"), *ALL_OK]
    assert [record.entry.name for record in known][:2] == ["broken", "broken"]


def test_sr_images_are_not_left_out_because_a_record_is_there(
    suite: Callable[..., Suite], store: Store, workers: Any, tmp_path: Path
) -> None:
    list(run_suite(suite(), store))
    workers.networks()
    list(run_suite(suite(sr_folder=tmp_path / "sr"), store, resume=True))
    assert len(workers.networks()) == 3 * PASSES
    assert len(list((tmp_path / "sr").rglob("*.png"))) == 3 * 2


def test_nothing_is_measured_while_another_process_writes(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    with Store(store.folder).writing(), pytest.raises(RecordError, match="is in use by process"):
        list(run_suite(suite(), store))
    assert workers.started == []


def test_a_pass_is_on_the_disk_before_the_next_begins(
    suite: Callable[..., Suite], store: Store, workers: Any
) -> None:
    kept: list[int] = []

    def on_step(_entry: str, step: str) -> None:
        if step.startswith("loading"):
            kept.append(len([*store.passes.glob("*/*.*.json")]))

    list(run_suite(suite(), store, on_step=on_step))
    assert kept == list(range(9))
    assert workers.networks()[:3] == list(NAMES)


def test_no_worker_may_see_results_or_passes(
    suite: Callable[..., Suite], store: Store, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchers: list[Launcher] = []
    fake = Launcher.worker

    def worker(launcher: Launcher, *networks: Any, **options: Any) -> Any:
        launchers.append(launcher)
        return fake(launcher, *networks, **options)

    monkeypatch.setattr(Launcher, "worker", worker)
    list(run_suite(suite(), store))
    assert len(launchers) == len(workers.started)
    for launcher in launchers:
        assert {store.runs, store.races, store.passes} <= set(launcher.hidden)
