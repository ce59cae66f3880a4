"""Store records: one file for each run or race, never half written, checked when read.

The passes of running suites are stored in the same folder.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from esrbench.errors import RecordError
from esrbench.files import (
    TEMPORARY,
    Files,
    FlushError,
    patiently,
    replace_file,
    sync_folder,
    write_new,
    write_once,
)
from esrbench.records import (
    BackendRecord,
    Decision,
    Examination,
    Notice,
    RaceRecord,
    RunRecord,
)
from esrbench.runs.documents import DamagedError, decode, encode
from esrbench.runs.index import (
    FEWEST,
    INDEX_NAME,
    LEFT_OUT_FIELDS,
    decode_index,
    encode_index,
    settled,
    without_samples,
)
from esrbench.runs.run_states import RunStates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

    from esrbench.records import Action
    from esrbench.runs.index import Rows

DocumentT = TypeVar("DocumentT", bound="BaseModel")
RecordT = TypeVar("RecordT", RunRecord, RaceRecord, Decision, Examination)

DEFAULT_RESULTS = Path("results")
SUFFIX: Final = ".json"
_CROPS_NAME: Final = 20
ASIDE: Final = ".corrupt-"
"""Prefix of the names of files that were set aside as corrupt."""
ATTEMPT: Final = ".attempt-"
"""Separates the name of a pass from the number of an attempt that does not count."""
LOCK: Final = ".lock"
STALE_NS: Final = 3600 * 10**9
"""Incomplete files of this age have no writer any more: a writer needs only seconds."""


class SuiteGoneError(RecordError):
    """Another process has made all records of this suite and removed its passes."""


def default_results() -> Path:
    """``ESRBENCH_RESULTS``, or ``results`` in the current folder."""
    return Path(os.environ.get("ESRBENCH_RESULTS") or DEFAULT_RESULTS)


def record_id(created: datetime, *parts: str) -> str:
    """Name of a new record: unique, sortable by time, made of ``parts``, valid as a file name."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", part)[:80] for part in parts]
    stamp = f"{created:%Y%m%dT%H%M%S}{created.microsecond // 1000:03d}Z"
    return "-".join((stamp, *words, secrets.token_hex(3)))


class Store:
    """A folder of results: run records in ``<folder>/runs/``, races in ``<folder>/races/``.

    Rows of the comparison of backends are in ``<folder>/backends/``, by their fingerprint.

    An organiser's decisions about runs are in ``<folder>/decisions/``, one file for each. The
    findings of ``esrbench doctor`` are in ``<folder>/doctor/``.

    ``<folder>/passes/<suite>/`` has the passes that a running suite has made so far.
    ``<folder>/crops/`` has parts of images: a folder for the SR of each run, and a folder for the
    HR and LR of each data set.

    Several processes on several machines may read and write at the same time, without a lock.
    A record is replaced as a whole; a pass is written once, and of two writers the first wins.

    Args:
        folder: folder of results.
        files: operations on the disk.
    """

    def __init__(self, folder: Path, *, files: Files | None = None) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.races = folder / "races"
        self.examinations = folder / "doctor"
        self.backends = folder / "backends"
        self.passes = folder / "passes"
        self.crops = folder / "crops"
        self.decisions = folder / "decisions"
        self._files = files or Files()
        self._unflushed: str | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders with results, which no worker may see."""
        return (
            self.runs,
            self.races,
            self.passes,
            self.crops,
            self.decisions,
            self.examinations,
            self.backends,
        )

    def require_writable(
        self, kind: type[RunRecord | RaceRecord | BackendRecord] = RunRecord
    ) -> None:
        """Create the folder and try to write, so that no measurement is lost later.

        Also remove the incomplete files of interrupted writers.

        Args:
            kind: class of the records that will be stored.

        Raises:
            RecordError: records cannot be written.
        """
        others = {RaceRecord: self.races, BackendRecord: self.backends}
        folder = others.get(kind, self.runs)
        probe = folder / f".probe.{secrets.token_hex(4)}{TEMPORARY}"
        try:
            self._make_folder(folder)
            write_new(probe, b"\n", flush=True, files=self._files)
            now = self._files.stamp(folder, probe.name)[2]
            self._files.unlink(probe)
            sync_folder(folder, self._files)
        except OSError as error:
            self._discard(probe)
            raise self._failure(folder, error) from error
        self.remove_stale(now - STALE_NS)

    def size_of(self, record: RunRecord) -> int:
        """Bytes of a stored record; 0 if its file is gone."""
        try:
            return (self.runs / f"{record.run_id}{SUFFIX}").stat().st_size
        except OSError:
            return 0

    def crops_of(self, sha256: str) -> Path:
        """The folder of crops of a run, by its fingerprint, or of a data set, by its digest."""
        return self.crops / sha256[:_CROPS_NAME]

    def put(self, record: RunRecord | RaceRecord | Decision | Examination | BackendRecord) -> Path:
        """Write a record so that a reader sees all of it or nothing, even after power loss.

        A record of the same name is replaced.

        Raises:
            RecordError: the record cannot be written, or not be flushed to the disk.
        """
        if isinstance(record, RaceRecord):
            target = self.races / f"{record.race_id}{SUFFIX}"
        elif isinstance(record, Decision):
            target = self.decisions / f"{record.decision_id}{SUFFIX}"
        elif isinstance(record, Examination):
            target = self.examinations / f"{record_id(record.created)}{SUFFIX}"
        elif isinstance(record, BackendRecord):
            target = self.backends / f"{record.fingerprint}{SUFFIX}"
        else:
            target = self.runs / f"{record.run_id}{SUFFIX}"
        self._put(target, record)
        return target

    def load(
        self, *, samples: bool = True, until: datetime | None = None
    ) -> tuple[list[RunRecord], list[Notice]]:
        """Run records as leaderboards show them, oldest first, and notices of unreadable files.

        Records of withdrawn entries are left out; see ``RunStates``.

        Args:
            samples: as in ``load_measured``.
            until: leave out runs that began later, and later decisions.
        """
        records, notices = self.load_measured(samples=samples)
        decisions, unread = self.load_decisions()
        if until is not None:
            records = [each for each in records if each.created <= until]
            decisions = [each for each in decisions if each.created <= until]
        return RunStates.after(decisions).apply(records), [*notices, *unread]

    def load_measured(self, *, samples: bool = True) -> tuple[list[RunRecord], list[Notice]]:
        """All run records as they were made, oldest first, and notices of unreadable files.

        A corrupt file is set aside, if this process may rename it.

        Args:
            samples: include raw times, scores of images and counts of blocks, which ranking and
                listing do not need. Without samples, the index is read instead of all files, and
                updated if a file has changed.
        """
        if samples:
            return self._load_every(self.runs, RunRecord)
        return self._load_indexed()

    def with_samples(self, record: RunRecord) -> RunRecord:
        """Add the samples to a record that was loaded without them, if its file can be read."""
        whole = self._load(self.runs / f"{record.run_id}{SUFFIX}", RunRecord)
        if not isinstance(whole, RunRecord):
            return record
        return record.model_copy(update={field: getattr(whole, field) for field in LEFT_OUT_FIELDS})

    def load_decisions(self) -> tuple[list[Decision], list[Notice]]:
        """The log of decisions, oldest first, and notices of unreadable files."""
        found, notices = self._load_every(self.decisions, Decision)
        # Names of files contain the time only to the millisecond.
        return sorted(found, key=lambda each: each.created), notices

    def decide(self, action: Action, subject: str, **fields: str | None) -> Decision:
        """Add an event to the log of decisions.

        Args:
            action: as in ``Decision``.
            subject: as in ``Decision``.
            fields: other fields of ``Decision``.

        Raises:
            RecordError: as in ``put``.
        """
        created = datetime.now(UTC)
        known = {"decision_id": record_id(created, action, subject), "created": created}
        decision = Decision.model_validate(
            {**known, "action": action, "subject": subject, **fields}
        )
        self.put(decision)
        return decision

    def load_races(self) -> tuple[list[RaceRecord], list[Notice]]:
        """All readable records of races, oldest first, and notices of unreadable files."""
        return self._load_every(self.races, RaceRecord)

    def load_backend(self, fingerprint: str) -> BackendRecord | Notice | None:
        """A row by its fingerprint; None if there is none, a notice if it is unreadable."""
        return self._load(self.backends / f"{fingerprint}{SUFFIX}", BackendRecord)

    def load_examinations(self) -> tuple[list[Examination], list[Notice]]:
        """All findings about machines, oldest first, and notices of unreadable files."""
        return self._load_every(self.examinations, Examination)

    def begin_suite(self, suite: str, name: str, document: BaseModel) -> None:
        """Make the folder of a suite, with its first document.

        Args:
            suite: name of the suite, valid as a folder name.
            name: name of the document, valid as a file name.
            document: the document; it must have a ``schema_version``.

        Raises:
            RecordError: as in ``put``.
        """
        try:
            self._make_folder(self.passes / suite)
        except OSError as error:
            raise self._failure(self.passes / suite, error) from error
        self.put_pass(suite, name, document)

    def put_pass(self, suite: str, name: str, document: BaseModel) -> bool:
        """Write a document of an unfinished suite, unless its name exists already.

        A pass that comes too late is kept as an attempt.

        Args:
            suite: name of the suite.
            name: name of the document, valid as a file name.
            document: the document; it must have a ``schema_version``.

        Returns:
            Whether it was the first of its name.

        Raises:
            SuiteGoneError: the suite has ended meanwhile.
            RecordError: as in ``put``.
        """
        target = self.path_of(suite, name)
        first = self._put(target, document, once=True)
        if not first:
            self.put_attempt(suite, name, document)
        return first

    def put_attempt(self, suite: str, name: str, document: BaseModel) -> None:
        """Keep a document that does not count, under a name of its own.

        Raises:
            SuiteGoneError, RecordError: as in ``put_pass``.
        """
        attempt = f"{name}{ATTEMPT}{secrets.token_hex(4)}"
        self._put(self.path_of(suite, attempt), document, once=True)

    def path_of(self, suite: str, name: str) -> Path:
        """The file of a document of an unfinished suite."""
        return self.passes / suite / f"{name}{SUFFIX}"

    def names_of(self, suite: str) -> list[str]:
        """Names of all documents of an unfinished suite, with those of attempts."""
        try:
            names = patiently(lambda: self._files.names(self.passes / suite))
        except OSError:
            return []
        return [name.removesuffix(SUFFIX) for name in names if not name.startswith(".")]

    @contextmanager
    def working_on(self, suite: str, part: str = "") -> Iterator[None]:
        """Mark a suite as in use during a block; see ``in_use``.

        Args:
            suite: name of the suite.
            part: any name of a part of the suite; empty for the suite itself.
        """
        with ExitStack() as ending:
            with suppress(OSError):
                ending.enter_context(self._locked(suite, part, shared=True))
            yield

    def in_use(self, suite: str, part: str = "") -> bool:
        """Whether a process works on a suite or part; also true if files cannot be locked."""
        try:
            with self._locked(suite, part, shared=False):
                return False
        except FileNotFoundError:
            return False
        except OSError:
            return True

    @contextmanager
    def _locked(self, suite: str, part: str, *, shared: bool) -> Iterator[None]:
        name = f".{part}{LOCK}" if part else LOCK
        descriptor = self._files.open_lock(self.passes / suite / name)
        try:
            lock = partial(self._files.lock, descriptor, shared=shared)
            if shared:
                patiently(lock, errno.EAGAIN)  # a caller of `in_use` holds it for a moment
            else:
                lock()
            yield
        finally:
            with suppress(OSError):
                self._files.close(descriptor)

    def load_pass(self, suite: str, name: str, kind: type[DocumentT]) -> DocumentT | Notice | None:
        """A document of an unfinished suite; None without a file, a notice if it is unreadable."""
        return self._load(self.path_of(suite, name), kind)

    def suites(self) -> list[str]:
        """Names of all unfinished suites, sorted."""
        try:
            names = self._files.names(self.passes)
        except OSError:
            return []
        return [name for name in names if not name.startswith(".")]

    def drop_suite(self, suite: str) -> None:
        """Remove the passes of a suite, all or none of them; there may be none.

        Raises:
            RecordError: the passes cannot be removed.
        """
        gone = self.passes / f".{suite}.{secrets.token_hex(4)}{TEMPORARY}"
        try:
            self._files.rename(self.passes / suite, gone)
            sync_folder(self.passes, self._files)
        except FileNotFoundError:
            return
        except FlushError as error:
            raise self._failure(self.passes, error) from error
        except OSError as error:
            message = f"{self.passes / suite}: cannot be removed: {error.strerror or error}"
            raise RecordError(message, advice="Remove the folder by hand.") from error
        self._discard(gone)

    def _put(self, target: Path, document: BaseModel, *, once: bool = False) -> bool:
        """Write a document; with ``once`` only if its folder exists and its name does not."""
        if self._unflushed is not None:
            raise self._distrust()
        content = encode(document)
        try:
            if once:
                write = partial(write_once, target, content, files=self._files)
                return patiently(write, errno.ENOENT)
            self._make_folder(target.parent)
            patiently(partial(self._replace, target, content), errno.ENOENT)
        except FileNotFoundError as error:
            if once and not self._files.is_folder(target.parent):
                message = f"{target.parent}: another process has finished this suite"
                advice = "Its records are in the results; `esrbench leaderboard` prints them."
                raise SuiteGoneError(message, advice=advice) from error
            raise self._failure(target, error) from error
        except OSError as error:
            raise self._failure(target, error) from error
        return True

    def _replace(self, target: Path, content: bytes) -> None:
        replace_file(target, content, files=self._files)

    def _failure(self, path: Path, error: OSError) -> RecordError:
        """The error for a file or folder that cannot be written."""
        if isinstance(error, FlushError):
            self._unflushed = f"{error.filename}: could not be flushed to the disk: "
            self._unflushed += error.strerror or "unknown error"
            return self._distrust()
        message = f"{path}: records cannot be written: {error.strerror or error}"
        advice = "Free space, or give --results a folder you can write to."
        return RecordError(message, advice=advice)

    def _distrust(self) -> RecordError:
        """The error after a failed flush; it is raised now and at every later write of this store.

        A second flush would prove nothing: the system may have dropped the data that it could not
        write, and then the flush succeeds.
        """
        message = f"{self._unflushed}; nothing more is written"
        return RecordError(message, advice="Check the disk, then run again with --resume.")

    def _make_folder(self, folder: Path) -> None:
        """Create a folder and its parents, and flush their names to the disk."""
        missing = []
        while not self._files.is_folder(folder):
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            with suppress(FileExistsError):
                self._files.make_folder(new)
            sync_folder(new.parent, self._files)

    def remove_stale(self, before: float) -> None:
        """Remove the incomplete files of interrupted writers.

        Args:
            before: time in nanoseconds since 1970; older files have no writer any more.
        """
        for folder in (*self.folders, *(self.passes / name for name in self.suites())):
            try:
                names = self._files.names(folder)
            except OSError:
                continue
            for name in names:
                if not (name.startswith(".") and name.endswith(TEMPORARY)):
                    continue
                with suppress(OSError):
                    if self._files.stamp(folder, name)[2] <= before:
                        self._discard(folder / name)

    def _discard(self, path: Path) -> None:
        """Remove a file or folder that nobody reads; failures are ignored."""
        with suppress(OSError):
            if not self._files.is_folder(path):
                self._files.unlink(path)
                return
            for name in self._files.names(path):
                self._files.unlink(path / name)
            self._files.remove_folder(path)

    def _load_indexed(self) -> tuple[list[RunRecord], list[Notice]]:
        """Run records without their samples, from the index if it has their files."""
        index = self.runs / INDEX_NAME
        try:
            known = decode_index(index, self._files.read(index))
        except OSError:
            known = {}
        rows: Rows = {}

        def load(name: str) -> RunRecord | Notice | None:
            try:
                stamp = self._files.stamp(self.runs, name)
            except OSError:
                return self._load(self.runs / name, RunRecord)
            row = known.get(name)
            if row is None or row[0] != stamp:
                found = self._load(self.runs / name, RunRecord)
                if not isinstance(found, RunRecord):
                    return found
                row = stamp, without_samples(found)
                if not settled(stamp):
                    return row[1]
            rows[name] = row
            return row[1]

        records, notices = self._load_all(self.runs, load)
        if rows != known and len(rows) >= FEWEST:
            with suppress(OSError):
                replace_file(index, encode_index(rows), flush=False, files=self._files)
        return records, notices

    def _load_every(self, folder: Path, kind: type[RecordT]) -> tuple[list[RecordT], list[Notice]]:
        return self._load_all(folder, lambda name: self._load(folder / name, kind))

    def _load_all(
        self, folder: Path, load: Callable[[str], RecordT | Notice | None]
    ) -> tuple[list[RecordT], list[Notice]]:
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
            found = load(name)
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
                    advice="Delete them when you no longer need them.",
                )
            )
        return records, notices

    def _load(self, path: Path, kind: type[DocumentT]) -> DocumentT | Notice | None:
        """A document; None if there is no file; a notice if it is not readable."""
        try:
            return decode(path, patiently(lambda: self._files.read(path)), kind)
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
        self, path: Path, kind: type[DocumentT], damage: DamagedError
    ) -> DocumentT | Notice | None:
        """Rename a corrupt file, unless another process has just replaced it."""
        try:
            target = self._free_name(path)
            self._files.rename(path, target)
            moved = self._files.read(target)
            with suppress(DamagedError):
                sound = decode(path, moved, kind)
                write_once(path, moved, files=self._files)
                self._files.unlink(target)
                return sound
            sync_folder(path.parent, self._files)
        except FileNotFoundError:
            return None
        except OSError as error:
            hindrance = self._failure(path, error) if isinstance(error, FlushError) else error
            why = hindrance.message if isinstance(hindrance, RecordError) else str(hindrance)
            message = f"{damage.message}. It stays where it is: {why}"
            return _corrupt(message, "Move it away, and measure again.")
        message = f"{damage.message}. It was set aside as {target}"
        return _corrupt(message, "Measure again; delete it when you no longer need it.")

    def _free_name(self, path: Path) -> Path:
        """A path that no earlier corrupt file has."""
        taken = set(self._files.names(path.parent))
        name, number = f"{ASIDE}{path.name}", 1
        while name in taken:
            number += 1
            name = f"{ASIDE}{path.name}.{number}"
        return path.with_name(name)


def _unreadable(message: str, advice: str | None) -> Notice:
    return Notice(code="unreadable-record", message=message, advice=advice or "Move the file away.")


def _corrupt(message: str, advice: str) -> Notice:
    return Notice(code="corrupt-record", message=message, advice=advice)
