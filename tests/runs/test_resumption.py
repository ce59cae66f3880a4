"""Suites that are cut short and resumed, with workers that answer at once."""

from dataclasses import replace

import pytest
from disks import Hasty

from esrbench.errors import MeasurementError, RegistrationError
from esrbench.records import WeightsIdentity
from esrbench.runs.assembly import assemble
from esrbench.runs.documents import decode
from esrbench.runs.events import SuiteEvents
from esrbench.runs.fingerprint import expected_environment
from esrbench.runs.forecast import forecast
from esrbench.runs.making import Maker
from esrbench.runs.passes import Pass, PassFolder, SharedRounds, TimedPass, UntimedPass
from esrbench.runs.plan import plan_passes
from esrbench.runs.rejected import RejectedEntry
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher

NAMES = ("one", "two", "three")
PASSES = 3
"""Of an entry: one untimed, two timed."""
PLACES = {"one": [2, 1], "two": [0, 0], "three": [1, 2]}
"""Of the entries in the two rounds that order seed 3 gives."""
ALL_OK = [(name, "ok") for name in sorted(NAMES)]
CHANGED = "class Net: changed = True\n"


def statuses(store):
    records, notices = store.load()
    assert notices == []
    return sorted((record.entry.name, record.status) for record in records)


def cut_short(suite, store, workers, at, **options):
    """Run a suite until a worker is started, and tell which networks were started before it."""
    workers.at = {len(workers.started) + at: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        list(run_suite(suite, store, **options))
    return workers.networks()[:-1]


def resume(suite, store):
    """Records that were there, and those made."""
    known = []
    return known, list(
        run_suite(suite, store, resume=True, events=SuiteEvents(on_known=known.append))
    )


@pytest.mark.parametrize(
    ("at", "baseline"),
    [*((at, None) for at in (1, 2, 4, 5, 6, 7, 8, 10)), (2, "two"), (7, "two"), (10, "two")],
)
def test_a_suite_cut_short_anywhere_goes_on_there(trio, store, workers, at, baseline):
    planned = trio(baseline=baseline, order_seed=3)
    made = cut_short(planned, store, workers, at)
    # The null network is the fourth of all that start.
    made = made if at != 4 else [*made, "the last one"]
    before = {each.run_id: each for each in store.load()[0]}
    told = forecast(planned, store, resume=True)
    known, new = resume(planned, store)
    # The pass that was cut short is the only one made twice.
    assert len(workers.networks()) == 3 * PASSES - len(made)
    assert sum(each.passes for each in told) == 3 * PASSES - len(made)
    assert {each.passes + each.done for each in told} == {PASSES}
    told = forecast(planned, store, resume=True)
    assert {(each.passes, each.done, each.seconds) for each in told} == {(0, PASSES, 0.0)}
    assert statuses(store) == ALL_OK
    assert sorted(record.entry.name for record in (*known, *new)) == sorted(NAMES)
    assert known == [each for each in before.values() if each.status == "ok"]
    records = store.load()[0]
    assert before.keys() <= {record.run_id for record in records}
    assert len({(each.latency.session, each.latency.variant_seed) for each in records}) == 1
    for record in records:
        replicates = record.latency.replicates
        assert [each.position for each in replicates] == PLACES[record.entry.name]
        starts = [each.started for each in replicates]
        assert starts == sorted(starts)
        assert (record.latency.baseline is None) == (baseline is None)
        # Starts: three untimed, the null, three in one order and three in another.
        first, second = PLACES[record.entry.name]
        parted = 5 + first < at <= 8 + second
        assert parted == any(notice.code == "resumed" for notice in record.notices)
    assert list(store.passes.iterdir()) == []


def test_a_finished_suite_is_not_made_again_unless_one_asks(trio, store, workers):
    first = list(run_suite(trio(), store))
    workers.networks()
    known, new = resume(trio(), store)
    assert (new, workers.started) == ([], [])
    assert sorted(each.run_id for each in known) == sorted(each.run_id for each in first)
    again = list(run_suite(trio(), store))
    assert len(workers.networks()) == 3 * PASSES
    assert not {each.run_id for each in again} & {each.run_id for each in first}
    assert len({each.latency.session for each in (*first, *again)}) == 2


@pytest.mark.parametrize("at", [None, 8], ids=["finished", "cut short"])
def test_an_entry_whose_code_changed_is_measured_again_and_no_other(
    trio, store, workers, sources, at
):
    if at is None:
        list(run_suite(trio(), store))
        made = workers.networks()
    else:
        made = cut_short(trio(), store, workers, at)
    sources["two"].write_text(CHANGED)
    resume(trio(), store)
    again = workers.networks()
    assert again.count("two") == PASSES
    assert len(again) == 3 * PASSES - len([name for name in made if name != "two"])
    newest = {record.entry.name: record for record in store.load()[0]}
    assert {record.status for record in newest.values()} == {"ok"}
    assert len(newest["two"].latency.replicates) == 2


def changed_weights(suite):
    first, *others = suite.entries
    weights = replace(first.weights, identity=WeightsIdentity(source="file", sha256="a" * 64))
    return replace(suite, entries=(replace(first, weights=weights), *others))


def changed_data(suite):
    pairs, identity = suite.data[0]
    return replace(suite, data=((pairs, identity.model_copy(update={"digest": "b" * 64})),))


def changed_protocol(suite):
    return replace(suite, protocol=suite.protocol.model_copy(update={"seed": 1}))


@pytest.mark.parametrize(
    ("change", "passes"),
    [(changed_weights, PASSES), (changed_data, 3 * PASSES), (changed_protocol, 3 * PASSES)],
)
def test_what_is_of_another_fingerprint_is_not_taken_over(trio, store, workers, change, passes):
    list(run_suite(trio(), store))
    workers.networks()
    resume(change(trio()), store)
    assert len(workers.networks()) == passes


@pytest.mark.parametrize("where", ["runs.fingerprint.harness_sha256", "environment.cpu_name"])
def test_another_harness_or_machine_is_another_fingerprint(
    trio, store, workers, monkeypatch, where
):
    cut_short(trio(), store, workers, 8)
    monkeypatch.setattr(f"esrbench.{where}", lambda: "c" * 64)
    resume(trio(), store)
    assert len(workers.networks()) == 3 * PASSES


def test_a_failed_entry_is_finished_and_an_infrastructure_error_is_not(trio, store, workers):
    workers.of = {
        "one": WorkerError("load-error", "no such layer", fatal=False),
        "null": MeasurementError("no worker could be started"),
    }
    list(run_suite(trio(), store))
    spoilt = [("one", "load-error"), ("three", "infra-error"), ("two", "infra-error")]
    assert statuses(store) == spoilt
    workers.networks()
    workers.of = {}
    known, _ = resume(trio(), store)
    assert [record.entry.name for record in known] == ["one"]
    assert sorted(set(workers.networks())) == ["three", "two"]
    newest = {record.entry.name: record.status for record in store.load()[0]}
    assert newest == {"one": "load-error", "two": "ok", "three": "ok"}


def test_passes_that_infrastructure_spoilt_are_made_again(trio, store, workers):
    workers.of = {"null": MeasurementError("no worker could be started")}
    cut_short(trio(), store, workers, 8)
    workers.of = {}
    resume(trio(), store)
    # The untimed passes were sound; no timed one was.
    assert len(workers.networks()) == 3 * 2
    assert statuses(store) == ALL_OK


def test_the_baseline_runs_beside_entries_that_are_left(trio, store, sources, workers):  # noqa: ARG001
    list(run_suite(trio(baseline="two"), store))
    sources["one"].write_text(CHANGED)
    known, new = resume(trio(baseline="two"), store)
    assert [record.entry.name for record in known] == ["three"]
    assert sorted(record.entry.name for record in new) == ["one", "two"]
    (record,) = (record for record in new if record.entry.name == "one")
    assert record.latency.entries == ("one", "two")
    assert record.latency.baseline is not None


def test_the_newest_suite_is_resumed_and_its_end_is_that_of_older_ones(trio, store, workers):
    for at in (3, 8):
        cut_short(trio(), store, workers, at)
    assert len(store.suites()) == 2
    resume(trio(), store)
    assert len(workers.networks()) == 3
    assert store.suites() == []
    cut_short(trio(order_seed=1), store, workers, 8)
    list(run_suite(trio(), store))
    # It was of another plan.
    assert len(store.suites()) == 1


@pytest.mark.parametrize("spoil", ["flip", "remove"])
def test_a_pass_that_is_lost_is_made_again_and_no_other(trio, store, workers, spoil):
    cut_short(trio(), store, workers, 8)
    path, *_ = sorted(store.passes.glob("*/*.timed-000.json"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    if spoil == "remove":
        path.unlink()
    notices = []
    list(run_suite(trio(), store, resume=True, events=SuiteEvents(on_notice=notices.append)))
    named = [(notice.code, path.name in notice.message) for notice in notices]
    assert named == ([("corrupt-record", True)] if spoil == "flip" else [])
    assert len(workers.networks()) == 3 + 1
    assert statuses(store) == ALL_OK


def test_each_data_set_is_finished_by_itself(trio, store, workers):
    one = trio()
    two = replace(one, data=(*one.data, *changed_data(one).data))
    # Ten workers of the first data set, the null's among them, and two of the second.
    cut_short(two, store, workers, 13)
    known, new = resume(two, store)
    assert len(workers.networks()) == 3 * PASSES - 2
    assert [len(known), len(new)] == [3, 3]
    assert statuses(store) == sorted([*ALL_OK, *ALL_OK])
    assert len({record.latency.session for record in store.load()[0]}) == 2


def test_a_submission_that_cannot_run_is_recorded_once(trio, store, workers):
    rejected = RejectedEntry("broken", 4, RegistrationError("submission.toml: no factory"))
    planned = replace(trio(), rejected=(rejected,))
    cut_short(planned, store, workers, 3)
    for _ in range(2):
        assert [record.entry.name for record in resume(planned, store)[0]][:1] == ["broken"]
    assert statuses(store) == [("broken", "load-error"), *ALL_OK]


def test_sr_images_are_not_left_out_because_a_record_is_there(trio, store, workers, tmp_path):
    list(run_suite(trio(), store))
    workers.networks()
    resume(trio(sr_folder=tmp_path / "sr"), store)
    assert len(workers.networks()) == 3 * PASSES
    assert len(list((tmp_path / "sr").rglob("*.png"))) == 3 * 2


def test_two_suites_of_one_plan_share_their_passes_and_make_each_record_once(trio, store, workers):
    planned = trio(order_seed=3, baseline="two")
    cut_short(planned, store, workers, 1)
    other_known, ours_known = [], []
    ours = run_suite(planned, store, resume=True, events=SuiteEvents(on_known=ours_known.append))
    workers.networks()
    made = [next(ours)]
    # The other suite finds the passes of the first, and comes to the end before it.
    other = Store(store.folder, files=Hasty())
    theirs = list(
        run_suite(planned, other, resume=True, events=SuiteEvents(on_known=other_known.append))
    )
    made += ours
    assert len(workers.networks()) == 3 * PASSES
    assert statuses(store) == ALL_OK
    ids = {record.run_id for record in store.load()[0]}
    assert {each.run_id for each in (*made, *ours_known)} == ids
    assert {each.run_id for each in (*theirs, *other_known)} == ids
    assert store.suites() == []


def test_of_a_pass_that_was_made_twice_the_first_counts_and_the_record_says_so(
    trio, store, workers, monkeypatch, tmp_path
):
    planned = trio()
    cut_short(planned, store, workers, 1)
    late = []

    def on_step(entry, step):
        """While one suite measures, another makes the same pass on another machine."""
        if (entry, step) == ("two", "loading") and not late:
            late.append(entry)
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
            cut_short(planned, Store(store.folder, files=Hasty()), workers, 2, resume=True)

    (untimed,) = (
        record.created
        for record in run_suite(planned, store, resume=True, events=SuiteEvents(on_step=on_step))
        if record.entry.name == "two"
    )
    assert statuses(store) == ALL_OK
    newest = {record.entry.name: record for record in store.load()[0]}
    notices = {name: [n.code for n in each.notices] for name, each in newest.items()}
    assert "made-again" in notices["two"]
    assert "made-again" not in notices["one"]
    assert untimed == newest["two"].created


def test_a_suite_that_another_process_ended_makes_nothing_more(trio, store, workers):
    planned = trio()
    cut_short(planned, store, workers, 1)
    known = []
    records = run_suite(
        planned,
        store,
        resume=True,
        events=SuiteEvents(on_known=known.append, on_step=drop(store, 4)),
    )
    assert list(records) == []
    assert (known, workers.networks()[:4]) == ([], ["one", "two", "three", "one"])


def drop(store, at):
    """End the suite as another process would, at a step."""
    steps = iter(range(1, 1000))

    def on_step(_entry, step):
        if step.startswith("loading") and next(steps) == at:
            for name in store.suites():
                store.drop_suite(name)

    return on_step


def test_the_end_of_a_suite_leaves_one_of_the_same_plan_that_is_under_way(trio, store, workers):
    older = run_suite(trio(baseline="two"), store)
    next(older)
    list(run_suite(trio(baseline="two"), store))
    assert len(store.suites()) == 1
    assert workers.networks()
    list(older)
    assert store.suites() == []
    assert len({record.latency.session for record in store.load()[0]}) == 2


def test_a_pass_is_on_the_disk_before_the_next_begins(trio, store, workers):
    kept = []

    def on_step(_entry, step):
        if step.startswith("loading"):
            kept.append(len([*store.passes.glob("*/*.*.json")]))

    list(run_suite(trio(), store, events=SuiteEvents(on_step=on_step)))
    assert kept == list(range(9))
    assert workers.networks()[:3] == list(NAMES)


def test_no_worker_may_see_results_or_passes(trio, store, workers, monkeypatch):
    launchers = []
    fake = Launcher.worker

    def worker(launcher, *networks, **options):
        launchers.append(launcher)
        return fake(launcher, *networks, **options)

    monkeypatch.setattr(Launcher, "worker", worker)
    list(run_suite(trio(), store))
    assert len(launchers) == len(workers.started)
    for launcher in launchers:
        assert {store.runs, store.races, store.passes} <= set(launcher.hidden)


def test_a_record_is_what_the_files_of_its_passes_say_on_any_machine(
    trio, store, workers, monkeypatch
):
    monkeypatch.setattr(PassFolder, "end", lambda _: None)
    records = list(run_suite(trio(baseline="two"), store))
    assert len(workers.networks()) == 3 * PASSES
    monkeypatch.setattr("esrbench.environment.cpu_name", lambda: "another")
    untimed, timed = {}, {name: [] for name in NAMES}
    for path in sorted(store.passes.glob("*/*.*.json")):
        fingerprint, kind = path.stem.split(".")
        if kind == "untimed":
            found = decode(path, path.read_bytes(), Pass[UntimedPass])
            untimed[found.entry.name] = found
        else:
            found = decode(path, path.read_bytes(), Pass[TimedPass])
            assert kind == f"timed-{found.found.replicate.index:03}"
            timed[found.entry.name].append(found)
        assert found.fingerprint == fingerprint
        assert found.data.name == "pairs"
    for record in records:
        name = record.entry.name
        assert assemble(untimed[name], timed[name], timed["two"]) == record


def test_a_pass_is_made_from_its_plan_entry_alone(trio, workers):
    suite = trio(order_seed=3)
    pairs, data = suite.data[0]
    shared = SharedRounds(id="x", variant_seed=7, order_seed=3, entries=NAMES, baseline=None)
    plan = plan_passes(
        suite,
        pairs,
        data,
        rounds=shared,
        environment=expected_environment(suite.protocol, "subprocess"),
        fingerprints={name: digit * 64 for name, digit in zip(NAMES, "123", strict=True)},
    )
    assert len({planned.name for planned in plan}) == len(plan) == 3 * PASSES
    maker = Maker("elsewhere")
    first, last = plan[1], next(each for each in plan if each.name == f"{'2' * 64}.timed-001")
    untimed = maker.untimed(first)
    with maker.null_times(last) as null:
        timed = maker.timed(last, untimed, null)
    assert workers.networks() == ["two", "two"]
    assert (timed.run_id, timed.rounds, timed.session) == (untimed.run_id, shared, "elsewhere")
    assert (timed.found.replicate.index, timed.found.replicate.position) == (1, PLACES["two"][1])
    # Of two rounds one is there.
    assert assemble(untimed, [timed]).status == "interrupted"
