from __future__ import annotations

import os
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esrbench.worker.channel import (
    MAX_FRAME_BYTES,
    Channel,
    ChannelClosedError,
    ChannelTimeoutError,
    FrameError,
)


@pytest.fixture
def ends():
    """A channel that reads what is written to the descriptor beside it."""
    read, write = os.pipe()
    unused = os.open(os.devnull, os.O_WRONLY)
    yield Channel(read, unused), write
    os.close(read)
    os.close(unused)
    try:
        os.close(write)
    except OSError:
        return


@given(
    message=st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=20), max_size=5),
    payload=st.binary(max_size=200_000),
)
def test_what_is_sent_arrives(message, payload):
    message.pop("payload_bytes", None)
    read, write = os.pipe()
    channel = Channel(read, write, trusted=True)
    received = []
    reader = threading.Thread(target=lambda: received.append(channel.receive(timeout_seconds=10)))
    reader.start()
    channel.send(message, payload, timeout_seconds=10)
    reader.join()
    channel.close()
    assert received == [(message, payload)]


def test_strings_of_strangers_are_cleaned_and_ours_are_not():
    said = {"a\x1b[2J": ["\u202eb\n::error::c"], "payload_bytes": 0}
    for trusted, expected in (
        (True, {"a\x1b[2J": ["\u202eb\n::error::c"]}),
        (False, {"a\ufffd[2J": ["\ufffdb : :error::c"]}),
    ):
        read, write = os.pipe()
        channel = Channel(read, write, trusted=trusted)
        channel.send(said, timeout_seconds=10)
        assert channel.receive(timeout_seconds=10) == (expected, b"")
        channel.close()


def test_nesting_that_exhausts_the_stack_is_no_json(ends):
    channel, write = ends
    for depth in (900, 1100, 5000, 30_000):
        document = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        os.write(write, struct.pack(">I", len(document)) + document)
        try:
            channel.receive(timeout_seconds=10)
        except FrameError as error:
            assert "not JSON" in str(error)  # noqa: PT017 - a shallow one may pass


def test_a_frame_that_announces_gibibytes_is_refused_before_reading_it(ends):
    channel, write = ends
    os.write(write, struct.pack(">I", 2**31))
    with pytest.raises(FrameError, match="2147483648 bytes"):
        channel.receive(timeout_seconds=5)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (b"\x80\x04pickle", "not JSON"),
        (b"[1]", "not a JSON object"),
        # The parser gives up on these in a way of its own.
        (b"[" * 50_000, "not JSON"),
        (b'{"a":' * 10_000, "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (b'{"payload_bytes": -1}', "-1 bytes"),
        (b'{"payload_bytes": 1e3}', "1000.0 bytes"),
        (b'{"payload_bytes": true}', "True bytes"),
        (b'{"payload_bytes": 99999999999}', "99999999999 bytes"),
    ],
)
def test_garbage_is_refused(ends, document, says):
    channel, write = ends
    os.write(write, struct.pack(">I", len(document)) + document)
    with pytest.raises(FrameError, match=says):
        channel.receive(timeout_seconds=5)


def test_half_a_frame_times_out(ends):
    channel, write = ends
    os.write(write, struct.pack(">I", 100) + b"{")
    with pytest.raises(ChannelTimeoutError):
        channel.receive(timeout_seconds=0.05)


@pytest.mark.parametrize("timeout", [1e9, float("inf")])
def test_a_deadline_may_be_farther_than_the_system_can_wait(ends, timeout):
    channel, write = ends
    os.write(write, struct.pack(">I", 2) + b"{}")
    assert channel.receive(timeout_seconds=timeout) == ({}, b"")


def test_a_writer_that_leaves_within_a_frame_is_noticed(ends):
    channel, write = ends
    os.write(write, struct.pack(">I", 100) + b"{")
    os.close(write)
    with pytest.raises(ChannelClosedError):
        channel.receive(timeout_seconds=5)


def test_a_reader_that_leaves_is_noticed():
    read, write = os.pipe()
    other_read, other_write = os.pipe()
    channel = Channel(other_read, write)
    os.close(read)
    with pytest.raises(ChannelClosedError):
        channel.send({"a": 1}, timeout_seconds=5)
    channel.close()
    os.close(other_write)


def test_a_reader_that_does_not_read_times_the_sender_out():
    read, write = os.pipe()
    other_read, other_write = os.pipe()
    channel = Channel(other_read, write)
    with pytest.raises(ChannelTimeoutError):
        channel.send({"a": 1}, b"x" * 10_000_000, timeout_seconds=0.05)
    channel.close()
    for descriptor in (read, other_write):
        os.close(descriptor)


def test_a_frame_too_long_to_send_is_refused():
    read, write = os.pipe()
    channel = Channel(read, write)
    with pytest.raises(FrameError):
        channel.send({"text": "x" * MAX_FRAME_BYTES})
    channel.close()
