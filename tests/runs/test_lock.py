"""Two writers as processes of their own."""

import errno
import json
import os
import re
import subprocess
import sys

import pytest

from esrbench.errors import EXIT_USAGE_OR_DATA, RecordError
from esrbench.files import Files
from esrbench.runs.store import Store

HOLD = """
import sys
from pathlib import Path
from esrbench.runs.store import Store
with Store(Path(sys.argv[1])).writing():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the lock of the folder of results."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_writer_is_told_who_the_first_is_and_readers_are_not_kept_out(
    other, make_record, tmp_path
):
    store = Store(tmp_path)
    said = (
        rf"{re.escape(str(tmp_path))} is in use by process {other.pid} on .+, started at 2\d{{3}}-"
    )
    for write in (store.require_writable, lambda: store.put(make_record("net"))):
        with pytest.raises(RecordError, match=said) as caught:
            write()
        assert caught.value.exit_code == EXIT_USAGE_OR_DATA == 2
    assert not store.runs.exists()
    assert store.load() == ([], [])


def test_a_lock_ends_with_its_owner_however_that_ends(other, make_record, tmp_path):
    other.kill()
    other.wait()
    store = Store(tmp_path)
    with store.writing():
        owner = json.loads((tmp_path / ".lock").read_text())
        assert owner["process"] == os.getpid()
        store.put(make_record("net"))
        with pytest.raises(RecordError, match=f"in use by process {os.getpid()} "):
            Store(tmp_path).require_writable()
    Store(tmp_path).require_writable()


def test_only_the_owner_of_the_lock_removes_what_another_left(other, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / ".x.json.12345678.tmp").touch()
    (runs / ".corrupt-x.json").touch()
    store = Store(tmp_path)
    store.load()
    with pytest.raises(RecordError), store.writing():
        pass
    assert len(list(runs.iterdir())) == 2
    other.communicate()
    with store.writing():
        pass
    assert [path.name for path in runs.iterdir()] == [".corrupt-x.json"]


def test_a_corrupt_record_stays_while_another_process_writes(other, tmp_path):
    store = Store(tmp_path)
    store.runs.mkdir()
    path = store.runs / "x.json"
    path.write_bytes(b"{")
    records, (notice,) = store.load()
    assert records == []
    assert notice.code == "corrupt-record"
    assert f"It stays where it is: {tmp_path} is in use by process {other.pid}" in notice.message
    assert path.read_bytes() == b"{"


def test_a_file_system_without_locks_is_named(tmp_path):
    class NoLocks(Files):
        def lock(self, descriptor):
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), descriptor)

    store = Store(tmp_path, files=NoLocks())
    with pytest.raises(RecordError, match="files cannot be locked here: No locks") as caught:
        store.require_writable()
    assert caught.value.advice == "Give --results a folder on a local disk."


def test_an_owner_that_could_not_say_who_it_is_still_keeps_others_out(tmp_path):
    class Full(Files):
        def describe_owner(self, descriptor, content):
            super().describe_owner(descriptor, content[:0])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with (
        Store(tmp_path, files=Full()).writing(),
        pytest.raises(RecordError, match="in use by another process"),
        Store(tmp_path).writing(),
    ):
        pass
