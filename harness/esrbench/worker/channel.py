"""Length-capped JSON frames with an optional byte payload, over two pipes.

A frame is a 4-byte big-endian length, that many bytes of JSON, and ``payload_bytes`` raw bytes
if the JSON has that key. Nothing is ever unpickled. Every read has a deadline.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any, Dict

from esrbench.plaintext import plain

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 512 * 1024 * 1024
CHUNK_BYTES = 1 << 20
MAX_POLL_SECONDS = 1e6
"""Longest timeout of one poll; the limit of the system is 2^31 milliseconds."""

Message = Dict[str, Any]


class ChannelClosedError(Exception):
    """The other side closed the channel or ended."""


class ChannelTimeoutError(Exception):
    """The deadline passed before a whole frame arrived or left."""


class FrameError(Exception):
    """The received bytes are not a valid frame."""


class Channel:
    """One side of a conversation; the caller must call ``close`` to close its descriptors.

    Args:
        read_fd: pipe end to read from.
        write_fd: pipe end to write to.
        trusted: the other side is the harness. Otherwise every string it sends is made safe to
            print.
    """

    def __init__(self, read_fd: int, write_fd: int, *, trusted: bool = False) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._trusted = trusted
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def close(self) -> None:
        """Close both ends."""
        for descriptor in (self._read_fd, self._write_fd):
            os.close(descriptor)

    def send(
        self, message: Message, payload: bytes = b"", *, timeout_seconds: float | None = None
    ) -> None:
        """Send one frame.

        Raises:
            FrameError: the JSON exceeds ``MAX_FRAME_BYTES``.
            ChannelClosedError: the other side no longer reads.
            ChannelTimeoutError: the deadline passed.
        """
        if payload:
            message = {**message, "payload_bytes": len(payload)}
        document = json.dumps(message, allow_nan=False).encode()
        if len(document) > MAX_FRAME_BYTES:
            raise FrameError(f"a frame of {len(document)} bytes exceeds {MAX_FRAME_BYTES}")
        deadline = _deadline(timeout_seconds)
        for part in (HEADER.pack(len(document)) + document, payload):
            view = memoryview(part)
            while view:
                _wait(self._write_fd, deadline, writing=True)
                try:
                    view = view[os.write(self._write_fd, view[:CHUNK_BYTES]) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise ChannelClosedError("the other side no longer reads") from error

    def receive(
        self, *, timeout_seconds: float | None = None, most_payload: int = MAX_PAYLOAD_BYTES
    ) -> tuple[Message, bytes]:
        """Receive one frame and its payload.

        Args:
            timeout_seconds: time until the whole frame must have arrived; None for no deadline.
            most_payload: largest size of the payload in bytes.

        Raises:
            FrameError: the frame is too long, is not a JSON object, is nested too deeply, or has an
                impossible payload length.
            ChannelClosedError: the other side closed, before or within a frame.
            ChannelTimeoutError: the deadline passed.
        """
        deadline = _deadline(timeout_seconds)
        (length,) = HEADER.unpack(self._read_exactly(HEADER.size, deadline))
        if length > MAX_FRAME_BYTES:
            raise FrameError(
                f"a frame announces {length} bytes; at most {MAX_FRAME_BYTES} are allowed"
            )
        document = bytes(self._read_exactly(length, deadline))
        message = read_json(document, "a frame", trusted=self._trusted)
        if not isinstance(message, dict):
            raise FrameError(f"a frame is not a JSON object: {document[:80]!r}")
        size = message.pop("payload_bytes", 0)
        if type(size) is not int or not 0 <= size <= most_payload:
            raise FrameError(f"a payload announces {size!r} bytes")
        return message, bytes(self._read_exactly(size, deadline))

    def _read_exactly(self, size: int, deadline: float | None) -> bytearray:
        content = bytearray()
        while len(content) < size:
            _wait(self._read_fd, deadline, writing=False)
            try:
                chunk = os.read(self._read_fd, min(CHUNK_BYTES, size - len(content)))
            except BlockingIOError:
                continue
            if not chunk:
                raise ChannelClosedError("the other side closed the pipe")
            content += chunk
        return content


def read_json(content: bytes, what: str, *, trusted: bool = False) -> Any:
    """The JSON message that the other side wrote.

    Args:
        content: the document.
        what: name of the document in messages.
        trusted: the other side is the harness. Otherwise every string is made safe to print.

    Raises:
        FrameError: the document is not JSON, or is nested too deeply.
    """
    try:
        value = json.loads(content)
        return value if trusted else plain(value)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"{what} is not JSON: {content[:80]!r}") from error


def _deadline(timeout_seconds: float | None) -> float | None:
    return None if timeout_seconds is None else time.monotonic() + timeout_seconds


def _wait(descriptor: int, deadline: float | None, *, writing: bool) -> None:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    while True:
        remaining = MAX_POLL_SECONDS if deadline is None else deadline - time.monotonic()
        # Check this before the poll, so that a sender that never pauses reaches its deadline too.
        if remaining <= 0:
            raise ChannelTimeoutError("no answer in time")
        if poll.poll(min(remaining, MAX_POLL_SECONDS) * 1000):
            return
