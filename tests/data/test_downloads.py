"""Downloads against a server on this machine: resuming, wrong contents, mirrors, two at once."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import socket
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

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
        self.requests: list[tuple[str, str | None]] = []

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
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "_PAUSES_SECONDS", (0, 0.001, 0.001, 0.001))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server, destination, *, mirror=None, sha256=SHA256, size=SIZE):
    return fetch_file(
        f"{server.url}/file.bin",
        filename="file.bin",
        sha256=sha256,
        size=size,
        destination=destination,
        mirror=mirror,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_its_progress_told(server, tmp_path):
    told: list[tuple[int, int]] = []
    for _ in range(2):
        path = fetch_file(
            f"{server.url}/file.bin",
            filename="file.bin",
            sha256=SHA256,
            size=SIZE,
            destination=tmp_path / "new",
            progress=lambda done, total: told.append((done, total)),
        )
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
def test_what_came_before_giving_up_is_kept_for_the_next_run(server, tmp_path, *, says_length):
    server.says_length = says_length
    server.cuts.extend([6 * CHUNK, 0, 0, 0])
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path)
    assert "file.bin" in caught.value.message
    assert names(tmp_path) == ["file.bin.part"]
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[: 6 * CHUNK]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/file.bin", f"bytes={6 * CHUNK}-")
    assert names(tmp_path) == ["file.bin"]


def test_a_server_that_cannot_resume_sends_it_all_again(server, tmp_path):
    server.resumable = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:5000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"other bytes", CONTENT + b"!", CONTENT[:-1] + b"!"])
def test_a_part_of_another_file_is_given_up(server, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == ["file.bin"]


def test_a_part_longer_than_a_file_of_unknown_size_is_given_up(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"!")
    assert fetch(server, tmp_path, size=None).read_bytes() == CONTENT


def test_wrong_contents_are_named_and_not_kept(server, tmp_path):
    wrong = b"?" * SIZE
    server.files["/file.bin"] = wrong
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path)
    for part in (f"{server.url}/file.bin", SHA256, hashlib.sha256(wrong).hexdigest()):
        assert part in caught.value.message
    assert names(tmp_path) == []


def test_a_wrong_size_is_wrong_contents(server, tmp_path):
    server.files["/file.bin"] = CONTENT + b"!"
    with pytest.raises(DownloadError, match=f"expected {SIZE} bytes .* found {SIZE + 1} bytes"):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_an_unknown_hash_leaves_verification_to_the_caller(server, tmp_path):
    assert fetch(server, tmp_path, sha256=None, size=None).read_bytes() == CONTENT


def test_404_is_final_and_503_is_tried_again(server, tmp_path):
    server.statuses.append(404)
    with pytest.raises(DownloadError, match="the server answered 404 Not Found"):
        fetch(server, tmp_path)
    assert len(server.requests) == 1
    server.statuses.append(503)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    server.statuses.extend([503] * 4)
    with pytest.raises(DownloadError, match="the server answered 503"):
        fetch(server, tmp_path / "other")


def test_offline_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "_PAUSES_SECONDS", (0, 0.001, 0.001, 0.001))
    with socket.socket() as closed:  # bound and not listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(DownloadError) as caught:
            fetch_file(
                f"http://{host}/file.bin",
                filename="file.bin",
                sha256=SHA256,
                size=SIZE,
                destination=tmp_path,
            )
    assert f"could not reach {host}" in caught.value.message
    assert "--mirror" in (caught.value.advice or "")
    assert "ESRBENCH_MIRROR" in (caught.value.advice or "")
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
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    given = str(mirror) if kind == "directory" else f"{server.url}/mirror"
    assert fetch(server, tmp_path / "cache", mirror=given).read_bytes() == CONTENT
    assert server.requests[-1] == ("/file.bin", None)


def test_every_source_that_failed_is_named(server, tmp_path):
    server.files = {}
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path / "cache", mirror=str(tmp_path))
    assert f"the mirror has no file {tmp_path / 'file.bin'}" in caught.value.message
    assert f"{server.url}/file.bin: the server answered 404" in caught.value.message


def test_wrong_contents_in_a_mirror_are_an_error_not_a_reason_to_download(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"wrong")
    with pytest.raises(DownloadError) as caught:
        fetch(server, tmp_path / "cache", mirror=str(tmp_path))
    assert str(tmp_path / "file.bin") in caught.value.message
    assert server.requests == []
    assert names(tmp_path / "cache") == []


def test_a_mirror_that_is_nowhere_is_a_usage_error(server, tmp_path):
    with pytest.raises(UsageError, match="no directory"):
        fetch(server, tmp_path / "cache", mirror=str(tmp_path / "absent"))
    assert server.requests == []


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_full_disk_is_named_and_nothing_half_stays(server, tmp_path, *, mirrored):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    if mirrored:
        (mirror / "file.bin").write_bytes(CONTENT)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * CHUNK, limits[1]))
    try:
        with pytest.raises(DownloadError) as caught:
            fetch(server, tmp_path / "cache", mirror=str(mirror))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path / "cache") in caught.value.message
    assert os.strerror(errno.EFBIG) in caught.value.message
    assert "Set ESRBENCH_CACHE" in (caught.value.advice or "")
    assert names(tmp_path / "cache") == ([] if mirrored else ["file.bin.part"])
    assert fetch(server, tmp_path / "cache").read_bytes() == CONTENT


def test_a_bad_certificate_bundle_is_not_the_caches_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    url = "https://127.0.0.1:9/file.bin"
    with pytest.raises(DownloadError, match=r"^file.bin could not be fetched: .*absent\.pem"):
        fetch_file(url, filename="file.bin", sha256=SHA256, size=SIZE, destination=tmp_path)


def test_two_at_once_both_get_the_file(server, tmp_path):
    barrier = threading.Barrier(4)

    def work(_):
        barrier.wait()
        return fetch(server, tmp_path).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [CONTENT] * 4
    assert names(tmp_path) == ["file.bin"]


def test_a_part_held_by_another_process_is_left_to_it(server, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(b"the other process's bytes")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert fetch(server, tmp_path).read_bytes() == CONTENT
        assert part.read_bytes() == b"the other process's bytes"
        holder.kill()
    assert names(tmp_path) == ["file.bin", "file.bin.part"]


HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_part_survives_the_kill_of_its_owner(server, tmp_path):
    part = tmp_path / "file.bin.part"
    part.write_bytes(CONTENT[:70_000])
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
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
        "print([m for m in ('pooch', 'requests', 'numpy', 'cv2', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
