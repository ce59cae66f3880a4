"""Passes on disks of other machines: stale handles, no hard links, no space."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from disks import FaultyFiles, Hasty, sweep

from esrbench.errors import RecordError
from esrbench.files import PAUSES
from esrbench.records import RunRecord
from esrbench.runs.store import Store

OPERATIONS = ("create", "write", "link", "rename", "names", "read", "unlink", "sync_folder")


class Troubled(Hasty):
    """Has some operations fail, so many times, after they were done or before."""

    def __init__(self):
        self.errors = {}
        self.times = {}
        self.done_first = False


def _troubled(name):
    def operation(files, *given):
        if files.times.get(name, 0):
            files.times[name] -= 1
            if files.done_first:
                getattr(Hasty, name)(files, *given)
            raise OSError(files.errors[name], os.strerror(files.errors[name]))
        return getattr(Hasty, name)(files, *given)

    return operation


for _name in OPERATIONS:
    setattr(Troubled, _name, _troubled(_name))


@pytest.fixture
def passes(make_record):
    """Two passes of one name; records stand in for them."""
    return [make_record("net", {"params": n}) for n in (1, 2)]


@pytest.fixture
def disk(tmp_path, passes, monkeypatch):
    """A store with a suite under way, on files that can fail."""
    monkeypatch.setattr("esrbench.files.time.sleep", lambda _: None)
    files = Troubled()
    store = Store(tmp_path, files=files)
    store.begin_suite("suite", "beginning", passes[0])
    return store, files


def fails(files, name, error, times=1, *, done_first=False):
    files.errors[name], files.times[name], files.done_first = error, times, done_first


def lies_there(store):
    folder = store.passes / "suite"
    return sorted(path.name for path in folder.iterdir() if path.name != "beginning.json")


@pytest.mark.parametrize("error", [errno.ESTALE, errno.ENOENT])
@pytest.mark.parametrize("name", ["create", "link"])
def test_a_pass_is_written_although_a_handle_is_stale_or_a_name_not_there_yet(
    disk, passes, name, error
):
    store, files = disk
    fails(files, name, error, len(PAUSES))
    assert store.put_pass("suite", "one", passes[0])
    assert store.load_pass("suite", "one", RunRecord) == passes[0]
    assert lies_there(store) == ["one.json"]


@pytest.mark.parametrize("error", [errno.ESTALE, errno.EEXIST, errno.ENOENT])
def test_a_link_whose_answer_was_lost_is_no_second_pass(disk, passes, error):
    store, files = disk
    fails(files, "link", error, done_first=True)
    assert store.put_pass("suite", "one", passes[0])
    assert lies_there(store) == ["one.json"]
    assert not store.put_pass("suite", "one", passes[1])
    assert store.load_pass("suite", "one", RunRecord) == passes[0]


@pytest.mark.parametrize("name", ["read", "names", "sync_folder", "rename"])
def test_what_else_is_stale_is_tried_again(disk, passes, name):
    store, files = disk
    fails(files, name, errno.ESTALE)
    assert store.put_pass("suite", "one", passes[0])
    store.put(passes[1])
    assert "one" in store.names_of("suite")
    assert store.load_pass("suite", "one", RunRecord) == passes[0]
    assert store.load_measured() == ([passes[1]], [])


def test_a_stale_handle_that_stays_is_named_and_leaves_nothing_torn(disk, passes):
    store, files = disk
    fails(files, "link", errno.ESTALE, 100)
    with pytest.raises(
        RecordError, match=r"one\.json: records cannot be written: Stale file handle"
    ):
        store.put_pass("suite", "one", passes[0])
    assert lies_there(store) == []


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_hard_links_the_first_still_wins(disk, passes, error):
    store, files = disk
    fails(files, "link", error, 100)
    assert store.put_pass("suite", "one", passes[0])
    assert not store.put_pass("suite", "one", passes[1])
    assert store.load_pass("suite", "one", RunRecord) == passes[0]
    assert ["one.attempt-" in name for name in lies_there(store)] == [True, False]


def test_of_many_writers_without_hard_links_one_wins(disk, make_record):
    store, files = disk
    made = [make_record("net", {"params": n}) for n in range(8)]
    fails(files, "link", errno.EPERM, 10**6)
    together = threading.Barrier(len(made))

    def write(record):
        together.wait()
        return store.put_pass("suite", "one", record)

    with ThreadPoolExecutor(len(made)) as writers:
        won = list(writers.map(write, made))
    assert won.count(True) == 1
    assert store.load_pass("suite", "one", RunRecord) == made[won.index(True)]
    assert len(lies_there(store)) == len(made)


def test_a_claim_of_a_killed_writer_goes_with_the_incomplete_files(disk, passes):
    store, files = disk
    fails(files, "link", errno.EPERM, 100)
    (store.passes / "suite" / ".one.json.claim.tmp").touch()
    assert not store.put_pass("suite", "one", passes[0])
    store.remove_stale(float("inf"))
    assert store.put_pass("suite", "one", passes[1])
    assert store.load_pass("suite", "one", RunRecord) == passes[1]


class WithoutLinks(FaultyFiles):
    """A disk on which every operation fails in turn, and hard links always do."""

    def link(self, source, target):  # noqa: ARG002 - as of any other
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


@pytest.mark.slow
def test_without_hard_links_a_pass_is_whole_or_not_there_after_any_fault(passes, tmp_path):
    first, second = passes

    def wrong(store, done):
        found = store.load_pass("suite", "two", RunRecord)
        if found not in ((second,) if done else (second, None)):
            yield f"the pass is {found}"
        if store.load_pass("suite", "one", RunRecord) != first:
            yield "the other pass is lost"

    found, operations = sweep(
        tmp_path / "disk",
        before=lambda store: store.begin_suite("suite", "one", first),
        act=lambda store: store.put_pass("suite", "two", second),
        wrong=wrong,
        files=WithoutLinks,
    )
    assert found == []
    assert operations > 7


@pytest.mark.parametrize("name", ["create", "write", "link"])
def test_a_full_disk_is_named_and_tears_nothing(disk, passes, name):
    store, files = disk
    fails(files, name, errno.ENOSPC)
    with pytest.raises(RecordError, match=r"one\.json: .*No space left on device"):
        store.put_pass("suite", "one", passes[0])
    assert lies_there(store) == []
    assert store.put_pass("suite", "one", passes[0])
