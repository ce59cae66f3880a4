"""What a worker may say and what not: a peer that answers as the test wants, and no process."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading

import numpy as np
import pytest

from esrbench.data.resize import upscale
from esrbench.errors import MeasurementError
from esrbench.plaintext import MESSAGE_CHARACTERS
from esrbench.records import Absent
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.view import View
from esrbench.worker import process as process_module
from esrbench.worker import session as session_module
from esrbench.worker.channel import Channel, ChannelClosedError
from esrbench.worker.failure import WorkerError
from esrbench.worker.pixels import POISON, PixelAreas
from esrbench.worker.process import MAX_ACCOUNT_BYTES, MOST_TIMEOUTS, WorkerProcess
from esrbench.worker.session import WorkerSession

LR = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
SR = LR.repeat(2, axis=0).repeat(2, axis=1)
READY = {"event": "ready", "parameters": 0, "threads": 1, "cpus": [0], "accelerator": None}
READY |= {"code_sha256": None}
SETTLED = {"event": "settled"}


def done(sequence, **fields):
    return {"event": "done", "sequence": sequence, "seconds": 0.001} | fields


class Peer:
    """The worker's end."""

    def __init__(self, arguments):
        requests, answers, lr_fd, sr_fd = (os.dup(int(each)) for each in arguments)
        self.channel = Channel(requests, answers)
        self.areas = PixelAreas.open(lr_fd, sr_fd)

    def hear(self):
        return self.channel.receive(timeout_seconds=10)[0]

    def say(self, *answers):
        for each in answers:
            self.channel.send(each, timeout_seconds=10)

    def deliver(self):
        self.areas.deliver(SR)


class Process:
    """As much of a process as a session looks at."""

    pid = 0

    def wait(self, timeout=None):
        if timeout is not None:
            raise subprocess.TimeoutExpired("peer", timeout)
        return -9


class Sandbox:
    """Starts a thread that follows a script."""

    def __init__(self, script):
        self.script = script
        self.killed = False

    def start(self, arguments, *_, log_fd, **__):
        peer = Peer(arguments)
        self.log = os.dup(log_fd)

        def run():
            try:
                self.script(peer)
                peer.hear()  # until the evaluator is gone
            except ChannelClosedError:
                pass
            finally:
                peer.areas.close()
                peer.channel.close()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return Process()

    def kill(self, _process):
        if not self.killed:
            os.close(self.log)
        self.killed = True


def asked(script, *, timeout=5.0):
    """A session whose peer has loaded a network at x2 and goes on by the script."""

    def loads_and_then(peer):
        peer.hear()
        script(peer)

    sandbox = Sandbox(loads_and_then)
    process = WorkerProcess(sandbox, View(readable=()), Limits(), timeout_seconds=timeout)
    session = WorkerSession(process)
    session._scale = 2
    return session


def begin(session):
    session.process._channel.send({"command": "load"})
    return session


class Clock:
    """Stands for the ``time`` of a session: it goes on only when told."""

    def __init__(self):
        self.now = 100.0
        self.tick = 0.0
        self.read_twice = threading.Event()
        self._reads = 0

    def perf_counter(self):
        # Whoever waits for a reading may move the clock as soon as it is counted.
        now = self.now
        self._reads += 1
        if self._reads == 2:
            self.read_twice.set()
        return now

    def monotonic(self):
        self.now += self.tick
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (session_module, process_module):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.mark.parametrize(
    ("given", "prepared"), [("bicubic-hr", True), ("lr", False)], ids=["enlarged", "luma"]
)
def test_the_evaluator_enlarges_before_the_clock_starts(clock, monkeypatch, given, *, prepared):
    def slowly(lr, scale, *, border):
        clock.now += 7
        return upscale(lr, scale, border=border)

    monkeypatch.setattr(session_module, "upscale", slowly)

    def script(peer):
        peer.hear()
        expected = upscale(LR, 2, border="mirror")
        assert np.array_equal(peer.areas.enlarged((5, 7), 2), expected)
        assert np.array_equal(peer.areas.lr((5, 7)), LR)
        clock.now += 0.5
        peer.deliver()
        peer.say(done(1), SETTLED)

    with asked(script) as session:
        session._enlarges, session._input = True, given
        delivery = begin(session).forward(LR)
    assert delivery.seconds == 0.5
    assert delivery.preparation_seconds == (7 if prepared else None)


def test_a_forward_is_timed_until_the_pixels_are_the_evaluator_s(clock):
    def script(peer):
        assert peer.hear() == {"command": "forward", "sequence": 1, "lr_size": [5, 7]}
        assert np.array_equal(peer.areas.lr((5, 7)), LR)
        # An earlier image cannot pass for this one.
        assert (peer.areas.take((10, 14)) == POISON).all()
        clock.now += 0.5
        peer.deliver()
        peer.say(done(1))
        assert clock.read_twice.wait(10)
        clock.now += 4  # what comes after delivery is not timed
        peer.areas.deliver(255 - SR)  # nor scored
        peer.say(SETTLED)

    with asked(script) as session:
        delivery = begin(session).forward(LR)
    assert np.array_equal(delivery.sr, SR)
    assert delivery.seconds == 0.5
    assert delivery.claimed_seconds == 0.001
    assert delivery.preparation_seconds is None
    assert delivery.settling_seconds == 4
    assert delivery.without_pixels().sr.size == 0
    assert delivery.without_pixels().seconds == delivery.seconds


def test_an_answer_before_the_pixels_are_there_delivers_poison():
    def script(peer):
        peer.hear()
        peer.say(done(1), SETTLED)
        peer.hear()
        peer.deliver()

    with asked(script) as session:
        assert (begin(session).forward(LR).sr == POISON).all()


def test_an_answer_given_in_advance_delivers_poison_too():
    def script(peer):
        peer.hear()
        peer.deliver()
        peer.say(done(1), SETTLED, done(2), SETTLED)
        peer.hear()

    with asked(script) as session:
        assert np.array_equal(begin(session).forward(LR).sr, SR)
        assert (session.forward(LR).sr == POISON).all()


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([done(1), done(1)], "done is no answer to forward"),
        ([SETTLED], "settled is no answer to forward"),
        ([done(2)], "it answered forward 1 with number 2"),
        ([done(0)], "it answered forward 1 with number 0"),
        ([done(1, seconds=-1e-9)], "bad answer to forward"),
        ([done(1, seconds=1e400)], "bad answer to forward"),
        ([done(1, extra=1)], "bad answer to forward"),
        ([{"event": "working"}], "working is no answer to forward"),
        ([READY], "ready is no answer to forward"),
        ([{"event": "failed", "kind": "ok", "message": "fine"}], "bad answer to forward"),
        ([{}], "bad answer to forward"),
    ],
)
def test_any_other_answer_ends_the_worker(answers, says):
    def script(peer):
        peer.hear()
        if answers[0].get("seconds") == float("inf"):
            document = b'{"event": "done", "sequence": 1, "seconds": 1e400}'
            os.write(peer.channel._write_fd, len(document).to_bytes(4, "big") + document)
        else:
            peer.say(*answers)

    with asked(script) as session, pytest.raises(WorkerError, match=says) as caught:
        begin(session).forward(LR)
    assert caught.value.kind == "protocol"
    assert caught.value.fatal
    assert session.process.sandbox.killed


def test_a_worker_that_never_settles_times_out():
    def script(peer):
        peer.hear()
        peer.say(done(1))

    with asked(script, timeout=0.2) as session, pytest.raises(WorkerError) as caught:
        begin(session).forward(LR)
    assert caught.value.kind == "timeout"


def test_a_failure_after_delivery_fails_the_forward():
    def script(peer):
        peer.hear()
        peer.say(done(1), {"event": "failed", "kind": "invalid-output", "message": "1 NaN"})

    with asked(script) as session, pytest.raises(WorkerError, match="1 NaN") as caught:
        begin(session).forward(LR)
    assert not caught.value.fatal


def test_signs_of_life_prolong_a_race_but_not_for_ever(clock):
    def script(peer):
        peer.hear()
        for _ in itertools.count():
            peer.say({"event": "working"})

    clock.tick = 1.0
    start = clock.now
    with asked(script, timeout=10) as session, pytest.raises(WorkerError) as caught:
        begin(session).time_pairs(
            count=1, self_count=0, discard=0, candidate_first=True, twin_first=True
        )
    assert caught.value.kind == "timeout"
    assert MOST_TIMEOUTS * 10 <= clock.now - start <= MOST_TIMEOUTS * 10 + 2


def test_an_image_too_large_to_be_delivered_is_refused_before_it_is_shown():
    huge = np.broadcast_to(np.uint8(0), (10_000, 5_000, 3))
    says = "SR image of 20000x10000 is too large"
    with asked(lambda _: None) as session, pytest.raises(MeasurementError, match=says):
        begin(session).forward(huge)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"x" * (MAX_ACCOUNT_BYTES + 1), "a payload announces 16777217 bytes"),
        (b"[" * 100_000, "an account is not JSON"),
        (b'{"kind": "other"}', "no account of memory"),
    ],
)
def test_an_account_is_json_of_bounded_size(payload, says):
    def script(peer):
        peer.hear()
        peer.channel.send({"event": "account"}, payload, timeout_seconds=10)

    with asked(script) as session, pytest.raises(WorkerError, match=says) as caught:
        begin(session).read_memory()
    assert (caught.value.kind, caught.value.fatal) == ("protocol", True)


def test_words_of_an_account_are_cleaned():
    def script(peer):
        peer.hear()
        told = b'{"kind": "unavailable", "reason": "\\u001b[2J\\n::error::a"}'
        peer.channel.send({"event": "account"}, told, timeout_seconds=10)

    with asked(script) as session:
        found = begin(session).read_memory()
    assert isinstance(found, Absent)
    assert found.reason == "\ufffd[2J : :error::a"


def test_words_of_a_worker_are_one_short_line():
    def script(peer):
        peer.hear()
        told = "\ud800 boom\n::stop-commands::a\x1b[2J" + "x" * 5000
        peer.say({"event": "failed", "kind": "oom", "message": told, "advice": told})

    with asked(script) as session, pytest.raises(WorkerError) as caught:
        begin(session).forward(LR)
    error = caught.value
    assert (error.kind, error.fatal) == ("oom", False)
    assert error.message == f"oom: {error.said}"
    for text in (error.said, error.advice or ""):
        assert text.startswith("\ufffd boom : :stop-commands::a\ufffd[2Jxxx")
        assert len(text) == MESSAGE_CHARACTERS
    assert len(error.said_of("image a").said) == MESSAGE_CHARACTERS


def forward_for_ever(session):
    while True:
        session.forward(LR)


def test_a_worker_may_take_as_long_to_settle_as_its_forwards_and_a_little_more(clock):
    asked_for = []

    def script(peer):
        for number in itertools.count(1):
            if peer.hear()["command"] != "forward":
                return
            asked_for.append(number)
            peer.deliver()
            before = clock._reads
            clock.now += 1
            peer.say(done(number))
            while clock._reads < before + 1:
                pass  # until the forward is over
            clock.now += 3
            peer.say(SETTLED)

    says = "its checks after forwards took"
    with asked(script, timeout=60) as session, pytest.raises(WorkerError, match=says) as caught:
        forward_for_ever(begin(session))
    assert caught.value.kind == "timeout"
    assert caught.value.fatal
    # 3 * n exceeds 10 + n from n = 6 on.
    assert len(asked_for) == 6


def test_an_entry_s_time_is_limited_however_lively_it_is(clock):
    answered = []

    def script(peer):
        for number in itertools.count(1):
            if peer.hear()["command"] != "forward":
                return
            clock.now += 8
            peer.deliver()
            answered.append(number)
            peer.say(done(number), SETTLED)

    session = asked(script, timeout=60)
    session.process.limit_seconds = 20.0
    with session, pytest.raises(WorkerError, match="limit of its total time") as caught:
        forward_for_ever(begin(session))
    assert caught.value.kind == "timeout"
    assert caught.value.advice is not None
    assert "--entry-timeout" in caught.value.advice
    assert len(answered) == 3  # of 8 s each


def test_the_time_of_a_worker_that_was_started_ahead_begins_in_its_turn(clock):
    def script(peer):
        peer.hear()
        clock.now += 30  # of another entry's pass
        peer.say(SETTLED)
        for number in range(1, 4):
            peer.hear()
            clock.now += 8
            peer.deliver()
            peer.say(done(number), SETTLED)

    session = asked(script, timeout=60)
    session.process.limit_seconds = 40.0
    with session:
        begin(session).greet()
        for _ in range(3):
            session.forward(LR)
