"""Files from the network or a mirror: hash-checked, cached, resumable.

A mirror (a directory, a ``file://`` address or the base of an http(s) address) is asked before
the official address, so everything works offline. Interrupted downloads stay beside their
target as ``.part`` and are continued. Unix only: a part is owned through ``flock``.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from esrbench.data.cache import usable
from esrbench.errors import DownloadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

MIRROR_VARIABLE = "ESRBENCH_MIRROR"

_PAUSES_SECONDS = (0.0, 0.5, 1.0, 2.0)  # before each attempt
_TIMEOUT_SECONDS = (10.0, 60.0)  # to connect, between two reads
_CHUNK_BYTES = 2**14  # less than a chunk is lost when a connection breaks
_TARGETS_FAULT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # copying
_RESUMED, _REFUSED, _TOO_LONG, _BUSY, _BROKEN = 206, 400, 416, 429, 500


class _UnavailableError(Exception):
    """A source that does not deliver; the next one is tried."""


class _Expected(NamedTuple):
    """The declared facts about a file, as far as known, and the receiver of its progress."""

    sha256: str | None
    size: int | None
    progress: Callable[[int, int], None] | None

    def matches(self, path: Path) -> bool:
        """Whether the file at ``path`` has the declared size and hash."""
        if self.size is not None and path.stat().st_size != self.size:
            return False
        return self.sha256 is None or _sha256(path) == self.sha256

    def require(self, path: Path, source: str) -> None:
        """Raise ``DownloadError`` unless the file at ``path`` matches."""
        if self.matches(path):
            return
        found = f"{path.stat().st_size} bytes with SHA-256 {_sha256(path)}"
        expected = f"{'any number of' if self.size is None else self.size} bytes"
        expected += f" with SHA-256 {self.sha256}" if self.sha256 is not None else ""
        message = f"{source}: expected {expected}, found {found}"
        advice = "The file there was changed or damaged; it was not kept. Use another source."
        raise DownloadError(message, advice=advice)

    def report(self, have: int, total: int) -> None:
        """Tell how many bytes have come."""
        if self.progress is not None:
            self.progress(have, total)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_file(
    url: str,
    *,
    filename: str,
    sha256: str | None,
    size: int | None,
    destination: Path,
    mirror: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Fetch one file unless an intact copy is there.

    Args:
        url: official http(s) address.
        filename: name in the cache and in mirrors; may hold folders (``set5/baby.bmp``).
        sha256: hash of the file; None leaves verifying its contents to the caller.
        size: bytes of the file, or None if unknown.
        destination: folder that receives it; created if needed.
        mirror: directory (searched by ``filename``, also one level below), ``file://`` or
            http(s) base address, asked first; ``ESRBENCH_MIRROR`` if None.
        progress: called with (bytes so far, bytes in total; 0 if unknown).

    Returns:
        Path of the verified file, ``destination / filename``.

    Raises:
        DownloadError: no source delivers it, or one delivers other contents (a wrong file does
            not stay in the cache), or the destination cannot be written to.
        UsageError: the mirror is neither a directory nor an address.
    """
    target = destination / filename
    expected = _Expected(sha256, size, progress)
    failures = []
    with usable(destination, DownloadError):
        if target.is_file() and expected.matches(target):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        for source in _sources(url, filename, mirror or os.environ.get(MIRROR_VARIABLE)):
            try:
                if isinstance(source, Path):
                    _copy(source, target, expected)
                else:
                    _download(source, target, expected)
            except _UnavailableError as error:
                failures.append(str(error))
            else:
                return target
    message = f"{filename} could not be fetched: {'; '.join(failures)}"
    advice = "Check the network, or put the file in a folder and give that folder with --mirror "
    advice += f"or the variable {MIRROR_VARIABLE}."
    raise DownloadError(message, advice=advice)


def _sources(url: str, filename: str, mirror: str | None) -> Iterator[str | Path]:
    """Places to try, in order: a path in a mirror, whether or not it exists, and addresses."""
    if mirror:
        address = urlsplit(mirror)
        if address.scheme in ("http", "https"):
            yield f"{mirror.rstrip('/')}/{quote(filename)}"
        else:
            folder = Path(url2pathname(address.path) if address.scheme == "file" else mirror)
            if not folder.is_dir():
                message = f"the mirror {mirror!r} is neither a directory nor an http(s) address"
                raise UsageError(message, advice=f"Correct --mirror or {MIRROR_VARIABLE}.")
            direct = folder / filename
            below = sorted(folder.glob(f"*/{filename}"))
            yield next((path for path in (direct, *below) if path.is_file()), direct)
    yield url


def _copy(source: Path, target: Path, expected: _Expected) -> None:
    with _temporary_file(target) as output:
        try:
            shutil.copyfile(source, output)
        except FileNotFoundError:
            message = f"the mirror has no file {source}"
            raise _UnavailableError(message) from None
        except OSError as error:
            if error.errno in _TARGETS_FAULT:
                raise
            message = f"{source} cannot be copied ({error.strerror})"
            raise _UnavailableError(message) from None
        expected.require(output, str(source))
        size = output.stat().st_size
        expected.report(size, size)
        _put(output, target)


def _download(url: str, target: Path, expected: _Expected) -> None:
    with _partial_file(target) as (file, part):
        resumed = file.seek(0, os.SEEK_END) > 0
        _stream(url, file, expected)
        if resumed and not expected.matches(part):
            _empty(file)  # the part may be of another version of the file
            _stream(url, file, expected)
        try:
            expected.require(part, url)
        except DownloadError:
            _empty(file)
            raise
        _put(part, target)


def _put(path: Path, target: Path) -> None:
    path.chmod(0o644)  # a temporary file is private; a shared cache is not
    path.replace(target)


def _empty(file: IO[bytes]) -> int:
    file.seek(0)
    return file.truncate()


@contextmanager
def _temporary_file(target: Path) -> Iterator[Path]:
    """A temporary file beside ``target``; it is removed at the end unless it was moved."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _partial_file(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """The target's ``.part``, or a temporary file if another process writes to the ``.part``.

    The lock vanishes with its owner, so a part is resumed even after a kill. An empty one is
    removed at the end.
    """
    part = target.with_name(f"{target.name}.part")
    with ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(part.open("a+b"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The previous owner may have moved the part away between open and lock.
            owned = part.stat().st_ino == os.fstat(file.fileno()).st_ino
        except OSError:  # held by another process, moved away, or a file system without locks
            owned = False
        if not owned:
            part = stack.enter_context(_temporary_file(target))
            file = stack.enter_context(part.open("w+b"))
        try:
            yield file, part
        finally:
            with suppress(FileNotFoundError):
                if part.stat().st_size == 0:
                    part.unlink()


def _stream(url: str, file: IO[bytes], expected: _Expected) -> None:
    """Append what is missing of ``url`` to ``file``, resuming after broken connections."""
    import requests

    failure = ""
    for pause in _PAUSES_SECONDS:
        time.sleep(pause)
        have = _resume_at(file, expected)
        if have and have == expected.size:
            return
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as reply:
                failure = _receive(reply, file, have, expected)
        except (
            requests.ConnectionError,
            requests.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            failure = f"could not reach {urlsplit(url).netloc} ({type(error).__name__})"
            if got := file.seek(0, os.SEEK_END):
                failure = f"the connection to {url} broke after {got} bytes; run again to resume"
        except OSError as error:  # of requests (a bad certificate bundle too), or of the system
            if error.errno is not None and not isinstance(error, requests.RequestException):
                raise
            message = f"{url}: {error}"
            raise _UnavailableError(message) from None
        if not failure:
            return
    raise _UnavailableError(failure)


def _resume_at(file: IO[bytes], expected: _Expected) -> int:
    """Bytes that are here already; a part that is longer than the file is emptied."""
    have = file.seek(0, os.SEEK_END)
    return _empty(file) if expected.size is not None and have > expected.size else have


def _receive(reply: requests.Response, file: IO[bytes], have: int, expected: _Expected) -> str:
    """Write a reply's body to ``file``; return a failure that may pass with time, or "".

    Raises:
        _UnavailableError: the server refuses for good.
    """
    status = reply.status_code
    if status == _TOO_LONG:
        _empty(file)
        return f"{reply.url}: the server refused to resume"
    if status >= _REFUSED:
        message = f"{reply.url}: the server answered {status} {reply.reason}"
        if status == _BUSY or status >= _BROKEN:  # may pass with time
            return message
        raise _UnavailableError(message)
    continues = reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    if have and not (status == _RESUMED and continues):  # it sends the whole file
        have = _empty(file)
    total = expected.size or have + int(reply.headers.get("Content-Length", 0))
    for chunk in reply.iter_content(_CHUNK_BYTES):
        file.write(chunk)
        have += len(chunk)
        expected.report(have, total)
    file.flush()
    if expected.size is not None and have < expected.size:
        return f"{reply.url}: the server sent {have} of {expected.size} bytes"
    return ""
