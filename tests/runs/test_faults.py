"""Every operation on the disk fails in turn; a record is as it was before or as it is after."""

import math

import pytest
from disks import MUTANTS, sweep

from esrbench.errors import RecordError
from esrbench.runs.documents import encode, read_any


def holds(store, *expected):
    records, notices = store.load()
    yield from (notice.message for notice in notices)
    yield from (f"{each.run_id} is lost" for each in expected if each not in records)


def put_others(store, records):
    for other in records[:-1]:
        store.put(other)


def a_new_record(records):
    *others, new = records

    def before(store):
        put_others(store, records)

    def wrong(store, done):
        yield from holds(store, *others, *([new] if done else []))
        store.put(new)
        yield from holds(store, *others, new)

    return {"before": before, "act": lambda store: store.put(new), "wrong": wrong}


def a_pass(records):
    """Written once, beside a first one; after any fault it is whole or not there."""
    first, pass_ = records[:2]

    def wrong(store, done):
        found = store.load_pass("suite", "two", type(pass_))
        if found not in ((pass_,) if done else (pass_, None)):
            yield f"the pass is {found}"
        if store.load_pass("suite", "one", type(first)) != first:
            yield "the other pass is lost"

    return {
        "before": lambda store: store.begin_suite("suite", "one", first),
        "act": lambda store: store.put_pass("suite", "two", pass_),
        "wrong": wrong,
    }


def the_first_record(records):
    return a_new_record(records[:1])


def a_replaced_record(records):
    other, old, _ = records
    new = old.model_copy(update={"duration_seconds": 9.0})

    def before(store):
        store.put(other)
        store.put(old)

    def wrong(store, done):
        yield from holds(store, other)
        path = store.folder / "runs" / f"{old.run_id}.json"
        try:
            found = read_any(path)
        except RecordError as error:
            yield error.message
        else:
            if found != new and (done or found != old):
                yield f"{path} is neither what it was nor what it was to be"

    return {"before": before, "act": lambda store: store.put(new), "wrong": wrong}


def a_corrupt_record(records):
    *others, corrupt = records
    content = encode(corrupt)[:-100]

    def before(store):
        put_others(store, records)
        (store.folder / "runs" / "x.json").write_bytes(content)
        (store.folder / "runs" / ".corrupt-x.json").write_bytes(b"earlier")

    def wrong(store, done):  # noqa: ARG001
        runs = store.folder / "runs"
        places = (runs / "x.json", runs / ".corrupt-x.json.2")
        held = [path for path in places if path.exists() and path.read_bytes() == content]
        if len(held) != 1 or (runs / ".corrupt-x.json").read_bytes() != b"earlier":
            yield f"the corrupt file is at {held}"
        found, notices = store.load()
        if found != others:
            yield "another record is lost"
        if not any("x.json" in notice.message for notice in notices):
            yield "the corrupt file is not named"

    def act(store):
        try:
            loaded, notices = store.load()
        except RecordError as error:
            raise AssertionError("a fault ended a reader") from error
        named = [each for each in others if any(each.run_id in said.message for said in notices)]
        assert [each for each in others if each in loaded or each in named] == others or any(
            "cannot be listed" in notice.message for notice in notices
        )

    return {"before": before, "act": act, "wrong": wrong}


def stale_files(records):
    def before(store):
        put_others(store, records)
        (store.folder / "runs" / ".x.json.12345678.tmp").write_bytes(b"{")
        folder = store.folder / "passes" / ".suite.12345678.tmp"
        folder.mkdir(parents=True)
        (folder / "one.json").write_bytes(b"{}")

    def act(store):
        store.remove_stale(math.inf)

    def wrong(store, done):  # noqa: ARG001
        yield from holds(store, *records[:-1])

    return {"before": before, "act": act, "wrong": wrong}


def a_suite_and_its_record(records):
    record = records[0]

    def before(store):
        store.begin_suite("suite", "one", record)
        store.put_pass("suite", "two", record)

    def act(store):
        store.put(record)
        store.drop_suite("suite")

    def wrong(store, done):
        passes = [store.load_pass("suite", name, type(record)) for name in ("one", "two")]
        kept = store.load() == ([record], [])
        if not kept and passes != [record] * 2:
            yield "neither the record nor all passes are there"
        if done and (not kept or store.suites()):
            yield "the passes are there, or the record is not"

    return {"before": before, "act": act, "wrong": wrong}


CASES = (
    a_new_record,
    a_pass,
    the_first_record,
    a_replaced_record,
    a_corrupt_record,
    stale_files,
    a_suite_and_its_record,
)


QUICK = (a_new_record,)


@pytest.fixture
def records(make_record):
    """Of three entries."""
    return tuple(make_record(name, {"params": 1234, "psnr_rgb": 29.5}) for name in "abc")


@pytest.mark.parametrize(
    "case",
    [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES],
    ids=lambda case: case.__name__,
)
def test_after_any_fault_records_are_old_or_new(case, records, tmp_path):
    wrong, operations = sweep(tmp_path / "disk", **case(records))
    assert wrong == []
    assert operations > 7


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_the_sweep_finds_mistakes(mutant, records, tmp_path):
    wrong = [
        said
        for number, case in enumerate((a_new_record, a_replaced_record))
        for said in sweep(tmp_path / str(number), **case(records), **mutant)[0]
    ]
    assert wrong != []
