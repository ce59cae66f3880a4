"""Downloads against a server on this machine: resuming, wrong contents, mirrors, two at once."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from builders import run

from esrbench.data import downloads
from esrbench.data.cache import cache_dir
from esrbench.data.downloads import fetch_file
from esrbench.errors import DownloadError, UsageError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SIZE = len(CONTENT)
CHUNK = downloads._CHUNK_BYTES


class Server(ThreadingHTTPServer):
    """Serves CONTENT under ``/file.bin``, misbehaving as told."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"/file.bin": CONTENT}
        self.resumable = True
        self.says_length = True
        self.cuts: deque[int] = deque()  # bytes after which the next replies break off
        self.statuses: deque[int] = deque()  # statuses of the next replies
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_):
        """Keep quiet."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        content = self.server.files.get(self.path)
        status = self.server.statuses.popleft() if self.server.statuses else None
        if status is not None or content is None:
            self.send_error(status or 404)
            return
        start = 0
        if asked and self.server.resumable:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[start:]
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.popleft()] if self.server.cuts else body)


@pytest.fixture
def impatient(monkeypatch):
    """No proxy and no pauses between attempts."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "_PAUSES_SECONDS", (0, 0.001, 0.001, 0.001))


@pytest.fixture
def server(impatient):  # noqa: ARG001 - before it
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server, destination, **options):
    url = server if isinstance(server, str) else f"{server.url}/file.bin"
    given = {"filename": "file.bin", "sha256": SHA256, "size": SIZE} | options
    return fetch_file(url, destination=destination, **given)


def refused(server, destination, **options):
    """Message and advice of what cannot be fetched."""
    with pytest.raises(DownloadError) as caught:
        fetch(server, destination, **options)
    return caught.value.message, caught.value.advice


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_its_progress_told(server, tmp_path):
    told = []
    for _ in range(2):
        path = fetch(server, tmp_path / "new", progress=lambda *told_now: told.append(told_now))
    assert path == tmp_path / "new" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["file.bin"]
    assert server.requests == [("/file.bin", None)]
    assert told[-1] == (SIZE, SIZE)
    assert told == sorted(told)


def test_a_damaged_copy_is_fetched_again(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT[:-1] + b"!")
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_broken_connection_is_resumed_where_it_broke(server, tmp_path):
    server.cuts.extend([6 * CHUNK, 12 * CHUNK + 5])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    asked = [asked for _, asked in server.requests]
    assert asked == [None, f"bytes={6 * CHUNK}-", f"bytes={18 * CHUNK}-"]
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("says_length", [True, False])
def test_what_came_before_giving_up_is_kept_for_the_next_run(server, tmp_path, says_length):
    server.says_length = says_length
    server.cuts.extend([6 * CHUNK, 0, 0, 0])
    assert "file.bin" in refused(server, tmp_path)[0]
    assert names(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[: 6 * CHUNK]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/file.bin", f"bytes={6 * CHUNK}-")
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("size", [SIZE, None])
@pytest.mark.parametrize(
    ("part", "resumable"),
    [
        (CONTENT[:5000], False),
        (b"other bytes", True),
        (CONTENT + b"!", True),
        (CONTENT[:-1] + b"!", True),
    ],
)
def test_a_part_that_does_not_fit_is_given_up(server, tmp_path, part, resumable, size):
    server.resumable = resumable
    (tmp_path / "file.bin.part").write_bytes(part)
    assert fetch(server, tmp_path, size=size).read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("wrong", [b"?" * SIZE, CONTENT + b"!"])
def test_wrong_contents_are_named_and_not_kept(server, tmp_path, wrong):
    server.files["/file.bin"] = wrong
    message, _ = refused(server, tmp_path)
    assert f"{server.url}/file.bin: expected {SIZE} bytes with SHA-256 {SHA256}" in message
    found = hashlib.sha256(wrong).hexdigest()
    assert f"found {len(wrong)} bytes with SHA-256 {found}" in message
    assert names(tmp_path) == []


def test_an_unknown_hash_leaves_verification_to_the_caller(server, tmp_path):
    assert fetch(server, tmp_path, sha256=None, size=None).read_bytes() == CONTENT


def test_404_is_final_and_503_is_tried_again(server, tmp_path):
    server.statuses.append(404)
    assert "the server answered 404 Not Found" in refused(server, tmp_path)[0]
    assert len(server.requests) == 1
    server.statuses.append(503)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    server.statuses.extend([503] * 4)
    assert "the server answered 503" in refused(server, tmp_path / "other")[0]


@pytest.mark.usefixtures("impatient")
def test_offline_says_what_to_do(tmp_path):
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        message, advice = refused(f"http://{host}/file.bin", tmp_path)
    assert f"could not reach {host}" in message
    assert "--mirror" in advice
    assert "ESRBENCH_MIRROR" in advice
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["file.bin", "weights/file.bin"])
@pytest.mark.parametrize("form", ["path", "file-url", "variable"])
def test_a_mirror_directory_needs_no_network(server, tmp_path, monkeypatch, place, form):
    mirror = tmp_path / "a mirror"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(CONTENT)
    given = {"path": str(mirror), "file-url": mirror.as_uri(), "variable": None}[form]
    if given is None:
        monkeypatch.setenv("ESRBENCH_MIRROR", str(mirror))
    path = fetch(server, tmp_path / "cache", mirror=given)
    assert path.read_bytes() == CONTENT
    assert server.requests == []
    assert (mirror / place).read_bytes() == CONTENT


def test_a_mirror_server_is_asked_first(server, tmp_path):
    server.files = {"/mirror/file.bin": CONTENT}
    assert fetch(server, tmp_path, mirror=f"{server.url}/mirror/").read_bytes() == CONTENT
    assert server.requests == [("/mirror/file.bin", None)]


@pytest.mark.parametrize("kind", ["directory", "server"])
def test_what_a_mirror_lacks_comes_from_the_official_address(server, tmp_path, kind):
    mirror = str(tmp_path) if kind == "directory" else f"{server.url}/mirror"
    assert fetch(server, tmp_path / "cache", mirror=mirror).read_bytes() == CONTENT
    assert server.requests[-1] == ("/file.bin", None)


def test_every_source_that_failed_is_named(server, tmp_path):
    server.files = {}
    message, _ = refused(server, tmp_path / "cache", mirror=str(tmp_path))
    assert f"the mirror has no file {tmp_path / 'file.bin'}" in message
    assert f"{server.url}/file.bin: the server answered 404" in message


def test_wrong_contents_in_a_mirror_are_an_error_not_a_reason_to_download(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"wrong")
    message, _ = refused(server, tmp_path / "cache", mirror=str(tmp_path))
    assert str(tmp_path / "file.bin") in message
    assert server.requests == []
    assert names(tmp_path / "cache") == []


def test_a_mirror_that_is_nowhere_is_a_usage_error(server, tmp_path):
    with pytest.raises(UsageError, match="neither a directory"):
        fetch(server, tmp_path / "cache", mirror=str(tmp_path / "absent"))
    assert server.requests == []


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_full_disk_is_named_and_nothing_half_stays(server, tmp_path, small_files, mirrored):
    if mirrored:
        (tmp_path / "file.bin").write_bytes(CONTENT)
    cache = tmp_path / "cache"
    with small_files(3 * CHUNK):
        message, advice = refused(server, cache, mirror=str(tmp_path))
    assert str(cache) in message
    assert os.strerror(errno.EFBIG) in message
    assert "Set ESRBENCH_CACHE" in advice
    assert names(cache) == ([] if mirrored else ["file.bin.part"])
    assert fetch(server, cache).read_bytes() == CONTENT


def test_a_bad_certificate_bundle_is_not_the_caches_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    message, _ = refused("https://127.0.0.1:9/file.bin", tmp_path)
    assert message.startswith("file.bin could not be fetched: ")
    assert "absent.pem" in message


def test_two_at_once_both_get_the_file(server, tmp_path):
    barrier = threading.Barrier(4)

    def work(_):
        barrier.wait()
        return fetch(server, tmp_path).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [CONTENT] * 4
    assert names(tmp_path) == ["file.bin"]


@contextmanager
def held(part):
    """Another process holds a part in this block, then it is killed."""
    code = f"""if True:
        import fcntl, sys
        file = open({str(part)!r}, "ab")
        fcntl.flock(file, fcntl.LOCK_EX)
        print("held", flush=True)
        sys.stdin.read()"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def test_a_part_held_by_another_process_is_left_to_it(server, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(b"the other process's bytes")
    with held(part):
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert part.read_bytes() == b"the other process's bytes"
    assert names(tmp_path) == ["file.bin", "file.bin.part"]


def test_a_part_survives_the_kill_of_its_owner(server, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT[:70_000])
    with held(part):
        pass
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/file.bin", "bytes=70000-")]


def test_the_cache_is_where_the_variable_or_the_system_says(monkeypatch, tmp_path):
    assert cache_dir() == Path(os.environ["ESRBENCH_CACHE"])
    monkeypatch.delenv("ESRBENCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "esrbench"


def test_importing_loads_no_network_library():
    code = (
        "import sys, esrbench.data.downloads, esrbench.data.datasets;"
        "print([m for m in ('requests', 'numpy', 'cv2', 'torch') if m in sys.modules])"
    )
    assert run(sys.executable, "-c", code).stdout.strip() == "[]"
