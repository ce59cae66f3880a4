"""Put, load and set aside records, and the journals of suites under way.

A record is put in four steps: write a file of another name, flush it to the disk, rename it,
flush its folder. Whatever ends a process, or its machine, between any two of them, a reader
finds the record as it was before or as it is now.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from esrbench.errors import RecordError
from esrbench.records import Notice, RaceRecord, RunRecord
from esrbench.runs.store.documents import DamagedError, decode, encode
from esrbench.runs.store.files import Files
from esrbench.runs.store.lock import WriterLock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from pydantic import BaseModel

DocumentT = TypeVar("DocumentT", bound="BaseModel")
RecordT = TypeVar("RecordT", RunRecord, RaceRecord)

DEFAULT_RESULTS = Path("results")
SUFFIX: Final = ".json"
ASIDE: Final = ".corrupt-"
"""What the name of a file begins with that was set aside."""
_TEMPORARY: Final = ".tmp"


def default_results() -> Path:
    """``ESRBENCH_RESULTS``, or ``results`` in the current folder."""
    return Path(os.environ.get("ESRBENCH_RESULTS") or DEFAULT_RESULTS)


def record_id(created: datetime, *parts: str) -> str:
    """Name of a new record: sortable by time, unique, made of its parts, fit for a file."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", part)[:80] for part in parts]
    stamp = f"{created:%Y%m%dT%H%M%S}{created.microsecond // 1000:03d}Z"
    return "-".join((stamp, *words, secrets.token_hex(3)))


class Store:
    """Run records under ``<folder>/runs/``, records of races under ``<folder>/races/``.

    Under ``<folder>/passes/`` lie journals: what a suite under way has measured so far.

    Readers take no lock. A writer takes one, for a ``with store.writing():`` block or else for
    each record that it puts.

    Args:
        folder: of results.
        files: operations on the disk.
    """

    def __init__(self, folder: Path, *, files: Files | None = None) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.races = folder / "races"
        self.passes = folder / "passes"
        self._files = files or Files()
        self._lock = WriterLock(folder, self._files)
        self._unflushed: str | None = None

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Where results lie, which no worker may see."""
        return self.runs, self.races, self.passes

    def require_writable(self, kind: type[RunRecord | RaceRecord] = RunRecord) -> None:
        """Create the folder and try it, so that nothing is measured in vain.

        Args:
            kind: of the records that will be put.

        Raises:
            RecordError: records could not be written, or another process writes here.
        """
        folder = self.races if kind is RaceRecord else self.runs
        probe = folder / f".probe.{secrets.token_hex(4)}{_TEMPORARY}"
        with self.writing():
            try:
                self._make_folder(folder)
                self._write_file(probe, b"\n")
                self._files.unlink(probe)
                self._sync_folder(folder)
            except OSError as error:
                self._discard(probe)
                raise _unwritable(folder, error) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only writer for the time of a block; blocks of one store may be nested.

        Raises:
            RecordError: another process writes here, or nobody can.
        """
        if self._lock.held:
            yield
            return
        try:
            self._make_folder(self.folder)
            self._lock.acquire()
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        try:
            self._remove_stale()
            yield
        finally:
            self._lock.release()

    def put(self, record: RunRecord | RaceRecord) -> Path:
        """Write a record so that a reader sees all of it or nothing, even after power loss.

        One of the same name is replaced.

        Raises:
            RecordError: the record cannot be written, or not be flushed to the disk, or another
                process writes here.
        """
        if isinstance(record, RaceRecord):
            target = self.races / f"{record.race_id}{SUFFIX}"
        else:
            target = self.runs / f"{record.run_id}{SUFFIX}"
        self._put(target, record)
        return target

    def load(self) -> tuple[list[RunRecord], list[Notice]]:
        """All readable run records, oldest first, and a notice for every file that is not.

        A corrupt one is set aside, where this process may do so.
        """
        return self._load_all(self.runs, RunRecord)

    def load_races(self) -> tuple[list[RaceRecord], list[Notice]]:
        """All readable records of races, likewise."""
        return self._load_all(self.races, RaceRecord)

    def put_part(self, journal: str, name: str, part: BaseModel) -> None:
        """Write a part of a journal, as safely as a record.

        Args:
            journal: its name, fit for a folder.
            name: of the part, fit for a file.
            part: a document that has a ``schema_version``.

        Raises:
            RecordError: as of ``put``.
        """
        self._put(self.passes / journal / f"{name}{SUFFIX}", part)

    def load_part(
        self, journal: str, name: str, kind: type[DocumentT]
    ) -> tuple[DocumentT | None, list[Notice]]:
        """A part of a journal, or None; a notice where it is there and not readable."""
        found = self._load(self.passes / journal / f"{name}{SUFFIX}", kind)
        if isinstance(found, Notice):
            return None, [found]
        return found, []

    def journals(self) -> list[str]:
        """Names of all journals, sorted."""
        try:
            names = self._files.names(self.passes)
        except OSError:
            return []
        return [name for name in names if not name.startswith(".")]

    def drop_journal(self, journal: str) -> None:
        """Remove a journal, all of it or nothing; one that is not there needs no removal.

        Raises:
            RecordError: it cannot be removed.
        """
        with self.writing():
            gone = self.passes / f".{journal}.{secrets.token_hex(4)}{_TEMPORARY}"
            try:
                self._files.rename(self.passes / journal, gone)
                self._sync_folder(self.passes)
            except FileNotFoundError:
                return
            except OSError as error:
                message = f"{self.passes / journal}: cannot be removed: {error.strerror or error}"
                raise RecordError(message, advice="Remove the folder by hand.") from error
            self._discard(gone)

    def _put(self, target: Path, document: BaseModel) -> None:
        if self._unflushed is not None:
            raise self._distrust()
        with self.writing():
            try:
                self._make_folder(target.parent)
                self._replace(target, encode(document))
            except OSError as error:
                raise _unwritable(target, error) from error

    def _replace(self, target: Path, content: bytes) -> None:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}{_TEMPORARY}")
        try:
            self._write_file(temporary, content)
            self._files.rename(temporary, target)
        except BaseException:
            self._discard(temporary)
            raise
        self._sync_folder(target.parent)

    def _write_file(self, path: Path, content: bytes) -> None:
        """A new file that holds the content, flushed to the disk."""
        descriptor = self._files.create(path)
        try:
            self._fill(descriptor, content)
            try:
                self._files.sync(descriptor)
            except OSError as error:
                raise self._distrust(path, error) from error
        except BaseException:
            with suppress(OSError):
                self._files.close(descriptor)
            raise
        self._files.close(descriptor)

    def _fill(self, descriptor: int, content: bytes) -> None:
        rest = memoryview(content)
        while rest:
            written = self._files.write(descriptor, rest)
            if not written:
                raise OSError(errno.EIO, "nothing was written")
            rest = rest[written:]

    def _sync_folder(self, folder: Path) -> None:
        try:
            self._files.sync_folder(folder)
        except OSError as error:
            raise self._distrust(folder, error) from error

    def _distrust(self, path: Path | None = None, error: OSError | None = None) -> RecordError:
        """What to raise after a failed flush, now and whenever this store would write again.

        To flush again proves nothing: the system may have dropped what it could not write, and
        then has nothing left that could fail.
        """
        if path is not None and error is not None:
            reason = error.strerror or error
            self._unflushed = f"{path}: could not be flushed to the disk: {reason}"
        message = f"{self._unflushed}; nothing more is written"
        return RecordError(message, advice="Check the disk, then run again with --resume.")

    def _make_folder(self, folder: Path) -> None:
        """A folder whose name is on the disk, and those above it."""
        missing = []
        while not self._files.is_folder(folder):
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with suppress(FileExistsError):
                self._files.make_folder(new)
            self._sync_folder(new.parent)

    def _remove_stale(self) -> None:
        """Remove what writers left that were cut short; only the lock's owner knows they were."""
        for folder in (*self.folders, *(self.passes / name for name in self.journals())):
            try:
                names = self._files.names(folder)
            except OSError:
                continue
            for name in names:
                if not (name.startswith(".") and name.endswith(_TEMPORARY)):
                    continue
                self._discard(folder / name)

    def _discard(self, path: Path) -> None:
        """Remove a file or folder that nobody reads; one that stays does no harm."""
        with suppress(OSError):
            if not self._files.is_folder(path):
                self._files.unlink(path)
                return
            for name in self._files.names(path):
                self._files.unlink(path / name)
            self._files.remove_folder(path)

    def _load_all(self, folder: Path, kind: type[RecordT]) -> tuple[list[RecordT], list[Notice]]:
        try:
            names = self._files.names(folder)
        except FileNotFoundError:
            return [], []
        except OSError as error:
            message = f"{folder}: cannot be listed: {error.strerror or error}"
            return [], [_unreadable(message, "Make the folder readable.")]
        records: list[RecordT] = []
        notices: list[Notice] = []
        for name in names:
            if name.startswith(".") or not name.endswith(SUFFIX):
                continue
            found = self._load(folder / name, kind)
            if isinstance(found, Notice):
                notices.append(found)
            elif found is not None:
                records.append(found)
        aside = [name for name in names if name.startswith(ASIDE)]
        if aside:
            notices.append(
                Notice(
                    code="set-aside-records",
                    message=f"{folder}: set aside earlier as corrupt: {', '.join(aside)}",
                    advice="Delete them when they are of no more use.",
                )
            )
        return records, notices

    def _load(self, path: Path, kind: type[DocumentT]) -> DocumentT | Notice | None:
        """A document; None where there is no file; a notice where it is not readable."""
        try:
            return decode(path, self._files.read(path), kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"{path}: not readable: {error.strerror or error}"
            return _unreadable(message, "Make the file readable, or move it away.")
        except DamagedError as error:
            return self._set_aside(path, kind, error)
        except RecordError as error:
            return _unreadable(error.message, error.advice)

    def _set_aside(
        self, path: Path, kind: type[DocumentT], error: DamagedError
    ) -> DocumentT | Notice | None:
        """Rename a corrupt file; as a writer, since another might just be replacing it."""
        try:
            with self.writing():
                try:
                    return decode(path, self._files.read(path), kind)
                except FileNotFoundError:
                    return None
                except DamagedError:
                    target = self._free_name(path)
                    self._files.rename(path, target)
                    self._sync_folder(path.parent)
        except (OSError, RecordError) as hindrance:
            why = hindrance.message if isinstance(hindrance, RecordError) else str(hindrance)
            message = f"{error.message}. It stays where it is: {why}"
            return _corrupt(message, "Move it away, and measure again.")
        message = f"{error.message}. It was set aside as {target}"
        return _corrupt(message, "Measure again; delete it when it is of no more use.")

    def _free_name(self, path: Path) -> Path:
        """Where no earlier corrupt file lies."""
        taken = set(self._files.names(path.parent))
        name, number = f"{ASIDE}{path.name}", 1
        while name in taken:
            number += 1
            name = f"{ASIDE}{path.name}.{number}"
        return path.with_name(name)


def _unwritable(path: Path, error: OSError) -> RecordError:
    message = f"{path}: records cannot be written: {error.strerror or error}"
    advice = "Free space, or give --results a folder you can write to."
    return RecordError(message, advice=advice)


def _unreadable(message: str, advice: str | None) -> Notice:
    return Notice(code="unreadable-record", message=message, advice=advice or "Move the file away.")


def _corrupt(message: str, advice: str) -> Notice:
    return Notice(code="corrupt-record", message=message, advice=advice)
