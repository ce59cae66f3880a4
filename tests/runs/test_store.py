import errno
import os
import sys
from pathlib import Path

import pytest
from builders import race as made_race
from builders import run

from esrbench.errors import RecordError
from esrbench.records import RaceRecord, RunRecord
from esrbench.runs.documents import decode, read_any
from esrbench.runs.store import Store, default_results


@pytest.fixture
def record(make_record):
    return make_record("net", {"params": 1234, "psnr_rgb": 29.123456789})


@pytest.fixture
def race():
    return made_race(1.02, set_aside="others took 40 %")


def test_a_race_comes_back_equal_and_beside_the_runs(race, record, tmp_path):
    store = Store(tmp_path)
    path = store.put(race)
    assert path == tmp_path / "races" / "race-net.json"
    assert read_any(path) == race
    assert store.load_races() == ([race], [])
    assert store.load() == ([], [])
    run = store.put(record)
    assert store.load_races() == ([race], [])
    with pytest.raises(RecordError, match="race_id"):
        decode(run, run.read_bytes(), RaceRecord)


def test_a_broken_race_is_set_aside_and_named(race, tmp_path):
    store = Store(tmp_path)
    path = store.put(race)
    content = path.read_bytes().replace(b'"inconclusive"', b'"perhaps"')
    path.write_bytes(content)
    races, (notice,) = store.load_races()
    assert races == []
    assert (notice.code, path.exists()) == ("corrupt-record", False)
    assert notice.message.endswith(f"set aside as {store.races / '.corrupt-race-net.json'}")
    assert (store.races / ".corrupt-race-net.json").read_bytes() == content


@pytest.mark.parametrize(("kind", "folder"), [(RaceRecord, "races"), (None, "runs")])
def test_a_folder_is_tried_for_the_records_to_come(tmp_path, kind, folder):
    store = Store(tmp_path)
    (tmp_path / folder).write_text("a file")
    with pytest.raises(RecordError, match=f"{folder}: records cannot be written"):
        store.require_writable(*([kind] if kind else []))


def test_a_record_comes_back_equal(record, tmp_path):
    store = Store(tmp_path)
    path = store.put(record)
    assert read_any(path) == record
    assert store.load() == ([record], [])


def test_one_file_a_run(make_record, tmp_path):
    store = Store(tmp_path)
    records = [make_record("net"), make_record("net")]
    for record in records:
        store.put(record)
    assert sorted(path.stem for path in store.runs.iterdir()) == sorted(
        record.run_id for record in records
    )


def test_corrupt_records_are_set_aside_and_named_and_the_others_load(record, tmp_path):
    store = Store(tmp_path)
    store.put(record)
    for content in (b"", b'{"sha256": 1', b"later"):
        (store.runs / "broken.json").write_bytes(content)
        records, notices = store.load()
        assert records == [record]
        assert [notice.code for notice in notices if "measure" in notice.advice.lower()] == [
            "corrupt-record"
        ]
        assert "broken.json: corrupt: " in notices[0].message
    assert sorted(path.name for path in store.runs.iterdir() if path.name[0] == ".") == [
        ".corrupt-broken.json",
        ".corrupt-broken.json.2",
        ".corrupt-broken.json.3",
    ]
    assert (store.runs / ".corrupt-broken.json").read_bytes() == b""
    assert (store.runs / ".corrupt-broken.json.3").read_bytes() == b"later"
    _, (reminder,) = store.load()
    assert reminder.code == "set-aside-records"
    assert reminder.message.count(".corrupt-broken.json") == 3


@pytest.mark.parametrize("name", ["run-1.json", "of-no-run.json"])
def test_what_is_intact_but_not_of_this_version_stays_and_is_named(record, tmp_path, name):
    store = Store(tmp_path)
    store.put(record)
    golden = Path(__file__).parent / "golden" / name
    content = golden.read_bytes() if golden.exists() else b'{"note": "mine"}'
    (store.runs / name).write_bytes(content)
    records, (notice,) = store.load()
    assert records == [record]
    assert notice.code == "unreadable-record"
    assert f"{name}: schema version" in notice.message
    assert (store.runs / name).read_bytes() == content


def test_a_file_that_cannot_be_read_stays_and_is_named(record, tmp_path):
    store = Store(tmp_path)
    store.put(record)
    (store.runs / "folder.json").mkdir()
    records, (notice,) = store.load()
    assert records == [record]
    assert "folder.json: not readable: Is a directory" in notice.message


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    records, (notice,) = Store(tmp_path).load()
    assert records == []
    assert "runs: cannot be listed: Not a directory" in notice.message


def test_passes_of_a_suite_come_back_until_they_are_dropped(record, tmp_path):
    store = Store(tmp_path)
    for suite in ("b", "a"):
        store.begin_suite(suite, "one", record)
    assert store.suites() == ["a", "b"]
    assert store.load_pass("a", "one", RunRecord) == record
    assert store.load_pass("a", "other", RunRecord) is None
    assert store.load() == ([], [])
    store.drop_suite("a")
    store.drop_suite("a")
    assert store.suites() == ["b"]
    (store.passes / "b" / "one.json").write_bytes(b"torn")
    notice = store.load_pass("b", "one", RunRecord)
    assert notice.code == "corrupt-record"
    assert [path.name for path in (store.passes / "b").iterdir()] == [".corrupt-one.json"]
    store.drop_suite("b")
    assert list(store.passes.iterdir()) == []


@pytest.mark.parametrize("operation", ["open", "fsync"])
def test_a_full_disk_leaves_the_old_record_and_no_partial_file(
    record, tmp_path, monkeypatch, operation
):
    store = Store(tmp_path)
    path = store.put(record)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, full)
        with pytest.raises(RecordError, match="No space left on device"):
            store.put(record.model_copy(update={"duration_seconds": 9.0}))
    assert path.read_bytes() == before
    assert [file.name for file in store.runs.iterdir()] == [path.name]


def test_after_a_failed_flush_nothing_more_is_written(record, tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.require_writable()

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(RecordError, match="could not be flushed to the disk: Input/output"):
            store.put(record)
    # The system would say now that all is well.
    with pytest.raises(RecordError, match=r"could not be flushed .*; nothing more is written"):
        store.put(record)
    assert list(store.runs.iterdir()) == []
    Store(tmp_path).put(record)
    assert store.load() == ([record], [])


SMALL_DISK = """
import sys
from pathlib import Path
from esrbench.errors import RecordError
from esrbench.records import RunRecord
from esrbench.runs.store import Store
record = RunRecord.model_validate_json(Path(sys.argv[1]).read_bytes())
store = Store(Path(sys.argv[2]) / "results")
stored = []
try:
    while len(stored) < 100:
        record = record.model_copy(update={"run_id": f"run-{len(stored)}"})
        store.put(record)
        stored.append(record)
except RecordError as error:
    print(error.message)
found, notices = Store(store.folder).load()
print(len(stored), sorted(each.run_id for each in found) == sorted(each.run_id for each in stored))
print(notices, sorted(path.name for path in store.runs.iterdir() if path.suffix != ".json"))
"""


def in_bubblewrap(*options):
    """Command line of bubblewrap; skips the test where it does not work."""
    command = ["bwrap", "--dev-bind", "/", "/", *options]
    try:
        run(*command, "true")
    except (OSError, AssertionError) as error:
        pytest.skip(f"bubblewrap does not work on this machine: {error}")
    return command


def test_a_full_disk_is_an_error_and_all_that_was_stored_before_is_whole(record, tmp_path):
    source, disk = tmp_path / "record.json", tmp_path / "disk"
    source.write_text(record.model_dump_json())
    disk.mkdir()
    command = in_bubblewrap("--size", str(64 * 1024), "--tmpfs", disk)
    done = run(*command, sys.executable, "-c", SMALL_DISK, source, disk)
    assert done.stderr == ""
    error, stored, litter = done.stdout.splitlines()
    assert "No space left on device" in error
    count, whole = stored.split()
    # 64 KiB hold fewer than 16 files of more than a page.
    assert 2 <= int(count) < 16
    assert (whole, litter) == ("True", "[] []")


def test_a_corrupt_record_in_a_read_only_folder_is_named_and_stays(record, tmp_path):
    store = Store(tmp_path / "results")
    store.put(record)
    (store.runs / "x.json").write_bytes(b"torn")
    script = (
        "import sys; from pathlib import Path; from esrbench.runs.store import Store;"
        "records, notices = Store(Path(sys.argv[1])).load();"
        "print(len(records), *[notice.message for notice in notices], sep='|')"
    )
    command = in_bubblewrap("--ro-bind", store.folder, store.folder)
    done = run(*command, sys.executable, "-c", script, store.folder)
    count, message = done.stdout.strip().split("|")
    assert count == "1"
    assert "x.json: corrupt: " in message
    assert "It stays where it is: " in message
    assert "Read-only file system" in message
    assert (store.runs / "x.json").read_bytes() == b"torn"


def test_a_real_file_size_limit_is_an_error_that_names_the_record(record, tmp_path):
    source = tmp_path / "record.json"
    source.write_text(record.model_dump_json())
    script = (
        "import resource, signal, sys; from pathlib import Path;"
        "from esrbench.runs.store import Store; from esrbench.records import RunRecord;"
        "record = RunRecord.model_validate_json(Path(sys.argv[1]).read_bytes());"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "Store(Path(sys.argv[2])).put(record)"
    )
    done = run(sys.executable, "-c", script, source, tmp_path / "out", code=1)
    assert "RecordError" in done.stderr
    assert record.run_id in done.stderr
    assert list((tmp_path / "out" / "runs").iterdir()) == []


def test_the_folder_can_be_set_by_the_environment(monkeypatch):
    monkeypatch.setenv("ESRBENCH_RESULTS", "elsewhere")
    assert str(default_results()) == "elsewhere"
    monkeypatch.delenv("ESRBENCH_RESULTS")
    assert str(default_results()) == "results"
