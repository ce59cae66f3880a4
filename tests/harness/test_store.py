from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from harness.errors import RecordError
from harness.protocol import PairDesign, Protocol, digest_of
from harness.records import Absent, PairedBatch, PairedProcess, RaceRecord
from harness.statistics import estimate_ratio
from harness.store import Store, default_results, read_race, read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.records import RunRecord


@pytest.fixture
def record(make_record: Callable[..., RunRecord]) -> RunRecord:
    return make_record("net", {"params": 1234, "psnr_rgb": 29.123456789})


@pytest.fixture
def race(record: RunRecord) -> RaceRecord:
    pairs = tuple((1.05 + 0.001 * i, 1.0) for i in range(20))
    return RaceRecord(
        race_id="race-1",
        created=record.created,
        duration_seconds=1.5,
        candidate=record.entry,
        baseline=record.entry,
        protocol=Protocol(),
        design=PairDesign(),
        environment=record.environment,
        environment_digest=digest_of(record.environment),
        processes=(PairedProcess(cpus=(0,), batches=(PairedBatch(pairs=pairs, self_pairs=()),)),),
        estimate=estimate_ratio(pairs, 2.6),
        self_check=Absent(kind="failed", reason="0 pairs are too few for an interval"),
        verdict="inconclusive",
        reason="the self-check has no interval",
    )


def test_a_race_comes_back_equal_and_beside_the_runs(
    race: RaceRecord, record: RunRecord, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    path = store.put(race)
    assert path == tmp_path / "races" / "race-1.json"
    assert read_race(path) == race
    assert store.load_races() == ([race], [])
    assert store.load() == ([], [])
    run = store.put(record)
    assert store.load_races() == ([race], [])
    with pytest.raises(RecordError, match="race_id"):
        read_race(run)


def test_a_broken_race_is_named(race: RaceRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.put(race)
    path.write_text(path.read_text().replace('"inconclusive"', '"perhaps"'))
    races, notices = store.load_races()
    assert races == []
    assert "field verdict" in notices[0].message


@pytest.mark.parametrize(("kind", "folder"), [(RaceRecord, "races"), (None, "runs")])
def test_a_folder_is_tried_for_the_records_to_come(
    tmp_path: Path, kind: type[RaceRecord] | None, folder: str
) -> None:
    store = Store(tmp_path)
    (tmp_path / folder).write_text("a file")
    with pytest.raises(RecordError, match=f"{folder}: records cannot be written"):
        store.require_writable(*([kind] if kind else []))


def test_a_record_comes_back_equal(record: RunRecord, tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.put(record)
    assert read_record(path) == record
    assert store.load() == ([record], [])


def test_one_file_a_run(make_record: Callable[..., RunRecord], tmp_path: Path) -> None:
    store = Store(tmp_path)
    records = [make_record("net"), make_record("net")]
    for record in records:
        store.put(record)
    assert sorted(path.stem for path in store.runs.iterdir()) == sorted(
        record.run_id for record in records
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not readable as JSON"),
        (b'{"schema_version": 1', "not readable as JSON"),
        (b"[]", "schema version None"),
        (b'{"schema_version": 2}', "schema version 2, expected 1"),
        (b'{"schema_version": 1, "run_id": 7}', "field"),
    ],
)
def test_an_unreadable_record_is_named_and_the_others_load(
    record: RunRecord, tmp_path: Path, content: bytes, says: str
) -> None:
    store = Store(tmp_path)
    store.put(record)
    (store.runs / "broken.json").write_bytes(content)
    records, notices = store.load()
    assert records == [record]
    assert [notice.code for notice in notices] == ["unreadable-record"]
    assert "broken.json" in notices[0].message
    assert says in notices[0].message


def test_unknown_fields_are_refused(record: RunRecord, tmp_path: Path) -> None:
    path = Store(tmp_path).put(record)
    document = json.loads(path.read_text())
    document["surprise"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(RecordError, match="surprise"):
        read_record(path)


@pytest.mark.parametrize("operation", ["open", "fsync"])
def test_a_full_disk_leaves_the_old_record_and_no_partial_file(
    record: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    store = Store(tmp_path)
    path = store.put(record)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, operation, full)
        with pytest.raises(RecordError, match="No space left on device"):
            store.put(record.model_copy(update={"duration_seconds": 9.0}))
    assert path.read_bytes() == before
    assert [file.name for file in store.runs.iterdir()] == [path.name]


def test_a_real_file_size_limit_is_an_error_that_names_the_record(
    record: RunRecord, tmp_path: Path
) -> None:
    source = tmp_path / "record.json"
    source.write_text(record.model_dump_json())
    script = (
        "import resource, signal, sys; from pathlib import Path;"
        "from harness.store import Store; from harness.records import RunRecord;"
        "record = RunRecord.model_validate_json(Path(sys.argv[1]).read_bytes());"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "Store(Path(sys.argv[2])).put(record)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source, tmp_path / "out"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert "RecordError" in done.stderr
    assert record.run_id in done.stderr
    assert list((tmp_path / "out" / "runs").iterdir()) == []


def test_the_folder_can_be_set_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESRBENCH_RESULTS", "elsewhere")
    assert str(default_results()) == "elsewhere"
    monkeypatch.delenv("ESRBENCH_RESULTS")
    assert str(default_results()) == "results"
