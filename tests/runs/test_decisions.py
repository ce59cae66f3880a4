"""What an organiser decides: logged, replayed, undone; records stay as they were measured."""

from datetime import UTC, datetime, timedelta

import pytest

from esrbench.errors import UsageError
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Decision, EntryIdentity, WeightsIdentity
from esrbench.runs.decisions import decide, decide_replaced
from esrbench.runs.exchange import copy_runs
from esrbench.runs.run_states import RunStates
from esrbench.runs.store import Store

COSTS = {
    "params": 1.0,
    "macs_ntire2022": 1.0,
    "runtime_images": 0.1,
    "activations_ntire2022": 1.0,
    "pass_peak_bytes": 1.0,
}


def event(action, subject, second, **fields):
    return Decision(
        decision_id=f"d{second}",
        created=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second),
        action=action,
        subject=subject,
        **fields,
    )


@pytest.mark.parametrize(
    ("events", "standing"),
    [
        ([], ("a", "counted", "")),
        ([("withdraw", "a", "late")], ("a", "withdrawn", "late")),
        ([("withdraw", "a", ""), ("restore", "a", "")], ("a", "counted", "")),
        ([("withdraw", "other", "")], ("a", "counted", "")),
        ([("disqualify", "a", "x"), ("withdraw", "a", "y")], ("a", "withdrawn", "y")),
        ([("withdraw", "a", "y"), ("disqualify", "run-1", "x")], ("a", "withdrawn", "y")),
        ([("withdraw", "run-1", "y")], ("a", "withdrawn", "y")),
        ([("withdraw", "run-2", "y")], ("a", "counted", "")),
        ([("rename", "a", "b"), ("disqualify", "b", "x")], ("b", "disqualified", "x")),
        ([("disqualify", "a", "x"), ("rename", "a", "b")], ("b", "disqualified", "x")),
        ([("rename", "a", "b"), ("rename", "b", "c")], ("c", "counted", "")),
        ([("rename", "a", "b"), ("rename", "b", "a")], ("a", "counted", "")),
    ],
)
def test_decisions_are_replayed_in_the_order_of_their_times(events, standing):
    made = [
        event(action, subject, n, new_name=more)
        if action == "rename"
        else event(action, subject, n, reason=more)
        for n, (action, subject, more) in enumerate(events)
    ]
    found = RunStates.after(reversed(made)).of("a", "run-1")
    assert (found.name, found.state, found.reason) == standing


def test_boards_see_decisions_at_once_and_records_keep_what_was_measured(make_record, store):
    for name in ("one", "two", "three"):
        store.put(make_record(name, COSTS, run_id=f"run-{name}"))
    decide(store, "withdraw", ["one"], "the team asked for it")
    decide(store, "disqualify", ["two"], "trained on the test set")
    decide(store, "rename", ["three", "third"])
    board = build_leaderboard(store.load()[0], RULES["ntire2022"])
    assert [row.entry for row in board.ranked] == ["third"]
    (row,) = board.unranked
    assert row.unranked_because == "disqualified: trained on the test set"
    measured = {record.entry.name: record.status for record in store.load_measured()[0]}
    assert measured == {"one": "ok", "two": "ok", "three": "ok"}

    decide(store, "restore", ["one", "two"])
    decide(store, "rename", ["third", "three"])
    board = build_leaderboard(store.load()[0], RULES["ntire2022"])
    assert {row.entry for row in board.ranked} == set(measured)
    log = [each.action for each in store.load_decisions()[0]]
    assert log == ["withdraw", "disqualify", "rename", "restore", "restore", "rename"]


def test_an_empty_folder_is_not_the_one_meant(tmp_path):
    with pytest.raises(UsageError, match="holds no records") as refused:
        decide(Store(tmp_path / "results"), "withdraw", ["team07-net"])
    assert "--results" in (refused.value.advice or "")


@pytest.mark.parametrize(
    ("action", "names", "reason", "says"),
    [
        ("withdraw", [], None, "runs withdraw: which entry or run?"),
        ("withdraw", ["tow"], None, "no entry and no run is called 'tow'"),
        ("disqualify", ["two"], " ", "for what reason"),
        ("restore", ["two"], None, "two is neither withdrawn nor disqualified"),
        ("rename", ["two"], None, "expected the old and the new name"),
        ("rename", ["two", "one"], None, "an entry is already called 'one'"),
        ("rename", ["tow", "new"], None, "no entry is called 'tow'"),
        ("rename", ["two", "../x"], None, "is not a valid name of an entry"),
    ],
)
def test_what_cannot_be_decided_is_refused_and_not_logged(
    *, make_record, store, action, names, reason, says
):
    for name in ("one", "two"):
        store.put(make_record(name))
    with pytest.raises(UsageError, match=says):
        decide(store, action, names, reason)
    assert store.load_decisions() == ([], [])


def submitted(sha256):
    return EntryIdentity(
        name="team-net",
        scale=4,
        factory="model:Net",
        origin="submissions/team-net",
        code_sha256=sha256 * 64,
        role="network",
        weights=WeightsIdentity(source="submitted"),
    )


def test_a_replaced_entry_does_not_hide_behind_its_older_run(make_record, store):
    for digit, status in (("a", "ok"), ("b", "load-error")):
        record = make_record("team-net", COSTS, status=status, cause="load-error: no")
        record = record.model_copy(update={"entry": submitted(digit)})
        store.put(record)
    (event_,) = decide_replaced(store, [record])
    assert (event_.action, event_.reason) == ("withdraw", f"replaced by {record.run_id}")
    assert [each.run_id for each in store.load()[0]] == [record.run_id]
    assert decide_replaced(store, [record]) == []


def test_a_submission_that_is_put_back_has_its_earlier_run_back(make_record, store):
    runs = [make_record("team-net", COSTS) for _ in "ab"]
    first, second = (
        run.model_copy(update={"entry": submitted(digit)})
        for run, digit in zip(runs, "ab", strict=True)
    )
    store.put(first)
    store.put(second)
    decide_replaced(store, [second])
    assert [each.run_id for each in store.load()[0]] == [second.run_id]
    decided = decide_replaced(store, [first])
    assert [each.action for each in decided] == ["restore", "withdraw"]
    assert [each.run_id for each in store.load()[0]] == [first.run_id]


def test_runs_are_merged_and_exported_with_their_decisions(make_record, store, tmp_path):
    for name in ("one", "two", "three"):
        store.put(make_record(name))
    decide(store, "withdraw", ["one"])
    decide(store, "disqualify", ["two"], "late")
    store.decide("challenge", "esr", text="title = 'esr'")
    whole, public = Store(tmp_path / "whole"), Store(tmp_path / "public")
    assert copy_runs(store, whole).records == 3
    again = copy_runs(store, whole)
    assert (again.records, again.decisions) == (0, 0)
    assert whole.load()[0] == store.load()[0]
    copied = copy_runs(store, public, public=True)
    assert (copied.records, copied.decisions) == (2, 1)
    assert not any("one" in path.name for path in public.runs.iterdir())
    few = Store(tmp_path / "few")
    assert copy_runs(store, few, ["two"]).records == 1
