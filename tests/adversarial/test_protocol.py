"""What a worker may say and give, and what becomes of it."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from esrbench.data.resize import upscale
from esrbench.entries.networks import resolve_weights
from esrbench.plaintext import LOG_LINE_CHARACTERS, MESSAGE_CHARACTERS, line
from esrbench.runs.plan import plan_suite
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.pixels import POISON
from esrbench.worker.process import LOG_BYTES

LR = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
SCALE = 4
SILENCE_SECONDS = 60.0
SHORT_SECONDS = 1.0
"""Of attacks that are silent."""
WAITS = {
    "closes_pipe": "esrbench.worker.process.STOP_SECONDS",
    "sleeps_in_settling": "esrbench.worker.session.MOST_SETTLING_SECONDS",
}
"""How long the harness waits for what these attacks never do."""
WORKER_GOES_ON = {"invalid-output", "forward-error", "oom"}


@pytest.fixture(scope="module", params=["own", pytest.param("another", marks=pytest.mark.slow)])
def interpreter(request):
    """The harness's own interpreter, whose workers do all, or one as entries have it."""
    return request.getfixturevalue("another_python") if request.param == "another" else None


@pytest.fixture(scope="module")
def start(interpreter, small):
    """Starts a worker in it that may load some entries."""

    def build(*entries):
        return open_launcher().worker(
            *((entry, resolve_weights(entry, SCALE)) for entry in entries),
            protocol=small,
            interpreter=interpreter,
            timeout_seconds=SILENCE_SECONDS,
        )

    return build


@pytest.fixture(scope="module")
def load(interpreter, small):
    """Has a worker in it load an entry."""

    def build(session, entry):
        weights = resolve_weights(entry, SCALE)
        state = None
        if interpreter is not None:
            state = b"" if weights.path is None else weights.path.read_bytes()
        session.load(entry, SCALE, weights=weights, protocol=small, state=state)

    return build


@pytest.fixture(scope="module")
def attacker(submissions, attack_table):
    """The submission of an attack."""
    rows = {row["name"]: row for kind in ("session", "delivery") for row in attack_table[kind]}

    def make(name):
        entry = f"cheat-{name}"
        row = rows.get(name, {})
        fields = {"weights": None} if row.get("weights") == "none" else {}
        if not (submissions.folder / entry).exists():
            submissions.add(name, model=row.get("model", {}), **fields)
        return submissions.register().get(entry)

    return make


@pytest.fixture(scope="module")
def shared_worker(attacker, attack_table, start):
    """One worker for all that does not end it."""
    names = [row["name"] for row in attack_table["session"] if row["status"] in WORKER_GOES_ON]
    entries = [attacker(name) for name in ("honest", *names)]
    session = start(*entries)
    session.process.limits = replace(session.process.limits, memory_bytes=2 << 30)
    with session:
        yield session


def provoke(session, load_entry, attack):
    """The error of the request that a row names, after all before it went well."""
    requests = {
        "load": load_entry,
        "count": session.count_complexity,
        "memory": lambda: (session.upscale(LR, "image"), session.read_memory()),
        "forward": lambda: [session.forward(LR) for _ in range(attack.get("forwards", 1))],
    }
    request = attack.get("request", "forward")
    if request != "load":
        load_entry()
    if attack["status"] == "timeout" and "forwards" not in attack:
        session.process.timeout_seconds = SHORT_SECONDS
    with pytest.raises(WorkerError, match=attack["says"]) as caught:
        requests[request]()
    return caught.value


def test_an_attack_has_its_status(
    *, session_attack, attacker, interpreter, start, load, request, monkeypatch
):
    if interpreter is not None and session_attack.get("request") == "count":
        pytest.skip("nothing is counted in another interpreter")
    entry = attacker(session_attack["name"])
    if session_attack["status"] in WORKER_GOES_ON:
        session = request.getfixturevalue("shared_worker")
        error = provoke(session, partial(load, session, entry), session_attack)
        # Whoever comes next is measured as if nothing had been.
        load(session, attacker("honest"))
        assert session.forward(LR).sr.shape == (128, 192, 3)
    else:
        if wait := WAITS.get(session_attack["name"]):
            monkeypatch.setattr(wait, SHORT_SECONDS)
        with start(entry) as own:
            error = provoke(own, partial(load, own, entry), session_attack)
            assert error.fatal
    assert error.kind == session_attack["status"]
    # What a worker says is quoted; it must not move the reader's cursor.
    assert line(error.message, MESSAGE_CHARACTERS + 20) == error.message


def test_an_attack_changes_nothing_of_what_is_scored(
    *, delivery_attack, attacker, shared_worker, start, load
):
    load(shared_worker, attacker("honest"))
    honest = shared_worker.forward(LR).sr
    entry = attacker(delivery_attack["name"])
    with start(entry) as session:
        load(session, entry)
        delivery = session.forward(LR)
        if delivery_attack.get("request_again"):
            delivery = session.forward(LR)
    expected = {"honest": honest, "zeros": 0 * honest, "poison": 0 * honest + POISON}
    expected["bicubic"] = upscale(LR, SCALE, border="mirror")
    assert np.array_equal(delivery.sr, expected[delivery_attack["delivers"]])
    assert delivery_attack.get("log", "") in session.log_tail
    assert len(session.log_tail) <= LOG_BYTES


def strings(value):
    """Every string in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def test_words_of_an_entry_are_plain_short_lines(
    *, words_attack, attacker, interpreter, start, load
):
    if interpreter is not None and "request" in words_attack:
        pytest.skip("nothing is counted in another interpreter")
    entry = attacker(words_attack["name"])
    said = []
    with start(entry) as session:
        load(session, entry)
        try:
            if words_attack.get("request") == "count":
                said += strings(session.count_complexity().model_dump(mode="json"))
            elif words_attack.get("request") == "blocks":
                blocks = [each.model_dump(mode="json") for each in session.measure_blocks(2)]
                said += strings(blocks)
            else:
                session.forward(LR)
        except WorkerError as error:
            assert "request" not in words_attack
            said += [error.message, error.advice or ""]
    assert any("\ufffd" in each or "..." in each or ": :" in each for each in said)
    for text in (*said, *session.log_tail.split("\n")):
        assert line(text, MESSAGE_CHARACTERS + 20) == text
        assert len(text) <= MESSAGE_CHARACTERS + 20
    assert max(map(len, session.log_tail.split("\n"))) <= LOG_LINE_CHARACTERS


def test_what_a_folder_asks_for_is_bounded_and_stops_no_suite(
    refused_attack, submissions, photographs, small
):
    name = refused_attack["name"]
    fields = {key: refused_attack[key] for key in ("model", "claims") if key in refused_attack}
    weights = None if name == "other_scale" else submissions.honest_weights
    honest = submissions.source("honest")
    entry = submissions.add(name, source=honest, weights=weights, **fields)
    folder = submissions.folder / entry
    if "sparse_bytes" in refused_attack:
        with (folder / "notes.bin").open("wb") as file:
            file.truncate(refused_attack["sparse_bytes"])
    for index in range(refused_attack.get("files", 0)):
        (folder / str(index)).touch()
    honest = submissions.folder / "cheat-honest"
    if not honest.exists():
        submissions.add("honest")
    suite = plan_suite(
        submissions.register(),
        [entry, "cheat-honest"],
        [str(photographs)],
        SCALE,
        weights={},
        protocol=small,
    )
    assert [each.descriptor.name for each in suite.entries] == ["cheat-honest"]
    (rejected,) = suite.rejected
    assert rejected.name == entry
    assert refused_attack["says"] in rejected.error.message
    assert line(rejected.error.message, 10_000) == rejected.error.message
    assert rejected.record(suite.data[0][1], small, "subprocess").status == "load-error"
    shutil.rmtree(folder)
