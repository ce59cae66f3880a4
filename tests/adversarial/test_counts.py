"""Networks that hide weights or work from counters, as the audit in a worker sees them."""

import pytest

from esrbench.entries.networks import resolve_weights
from esrbench.protocol import Protocol
from esrbench.worker.launcher import open_launcher

SCALE = 4
HONEST = ("honest", "honest_habits")


@pytest.fixture(scope="module")
def worker(submissions, attack_table, small):
    """One worker that counts them all, one after the other."""
    for name in (*HONEST, *(row["name"] for row in attack_table["count"])):
        # Weights do not change counts.
        submissions.add(name, weights=None)
    entries = [(entry, resolve_weights(entry, SCALE)) for entry in submissions.register()]
    with open_launcher().worker(*entries, protocol=small, timeout_seconds=120) as session:
        yield session


def counted(session, submissions, name, protocol):
    entry = submissions.register().get(f"cheat-{name}")
    session.load(entry, SCALE, weights=resolve_weights(entry, SCALE), protocol=protocol)
    return session.count_complexity()


def test_what_is_hidden_is_named(count_attack, worker, submissions, small):
    protocol = small
    if count_attack["name"] == "cheap_when_small":
        # The sizes at which challenges count, and at which their images lie.
        protocol = Protocol(threads=1, counters=("aten",))
    complexity = counted(worker, submissions, count_attack["name"], protocol)
    codes = [notice.code for notice in complexity.notices]
    assert count_attack["notice"] in codes


def test_nothing_is_said_of_an_honest_network(worker, submissions, small):
    complexity = counted(worker, submissions, "honest", small)
    assert complexity.audit.complete
    assert complexity.notices == ()
    layers = 9 * (3 * 48 + 48 * 48 + 48 * 48) + 3 * 48
    assert complexity.params == layers
    assert complexity.audit.effective_constants == layers


def test_nothing_is_said_of_unusual_habits(worker, submissions, small):
    complexity = counted(worker, submissions, "honest_habits", small)
    assert complexity.audit.complete, (complexity.audit.uncounted, complexity.audit.opaque)
    found = {notice.code for notice in complexity.notices}
    # What another counter passes over is said of the counter.
    assert found <= {"counter-spread", "uncounted-macs"}, complexity.notices
