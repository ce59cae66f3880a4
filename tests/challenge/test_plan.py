"""Which entries and images a challenge runs, before anything does."""

import pytest
from builders import edit, noise, write_set

from esrbench.challenge.file import read_challenge
from esrbench.challenge.plan import log_challenge, plan_challenge
from esrbench.entries.registry import Registry
from esrbench.entries.scaffold import scaffold
from esrbench.errors import DataError, UsageError
from esrbench.records import Decision
from esrbench.runs.run_states import RunStates
from esrbench.runs.store import Store

FILE = """title = "small"
rule = "aim2020"
entries = ["submissions/*"]
baseline = "nearest"
[[data]]
name = "ours"
folder = "images"
[protocol]
threads = 1
counted_input = [16, 16]
"""


@pytest.fixture
def challenge(tmp_path, describe):
    """Writes a challenge with two submissions, and plans it."""
    for name in ("team1-a", "team2-b"):
        scaffold(name, tmp_path / "submissions", scale=4)
    (tmp_path / "submissions" / "README.md").write_text("no entry\n")
    write_set(tmp_path / "images", {"one": noise(1), "two": noise(2)})
    path = tmp_path / "challenge.toml"
    path.write_text(FILE)

    def plan(*changes, states=None):
        for old, new in changes:
            edit(path, old, new)
        registry = Registry()
        registry.add([describe("Nearest")], origin="tests")
        read = read_challenge(path)
        return plan_challenge(path, read, registry, states or RunStates(), on_image=print), read

    plan.path = path
    return plan


def names(planned):
    return {entry.descriptor.name for entry in planned.suite.entries}


def test_entries_are_those_of_the_globs_and_the_baseline(challenge):
    planned, _ = challenge()
    assert names(planned) == {"team1-a", "team2-b", "nearest"}
    assert planned.suite.baseline == "nearest"
    assert planned.suite.protocol.latency.processes == 5
    assert planned.notices == ()


def test_withdrawn_ones_and_those_of_other_classes_are_left_out(challenge):
    edit(challenge.path.parent / "submissions/team1-a/submission.toml", '"fp32" ', '"bf16" ')
    withdrawn = Decision(
        decision_id="d",
        created="2026-01-01T00:00:00Z",
        action="withdraw",
        subject="team2-b",
        reason="by wish",
    )
    planned, _ = challenge(
        ('baseline = "nearest"', 'baseline = "nearest"\nclasses = ["fp32"]'),
        ('["submissions/*"]', '["submissions/*", "nearest"]'),
        ("[protocol]", '[environments]\nteam2-b = "no-such-environment"\n[protocol]'),
        states=RunStates.after([withdrawn]),
    )
    assert names(planned) == {"nearest"}
    said = {notice.code: notice.message for notice in planned.notices}
    assert said["withdrawn-entry"] == "team2-b is withdrawn: by wish"
    assert said["class-not-admitted"].startswith("team1-a declares bf16 and is left out")


def test_images_are_pinned_at_first_use_and_held_to_it(challenge, tmp_path):
    planned, read = challenge()
    (_, identity), *_ = planned.suite.data
    assert (identity.name, identity.pinned, identity.verified) == ("ours", True, False)
    store = Store(tmp_path / "results")
    (said,) = log_challenge(challenge.path, read, planned, store)
    assert identity.digest in said
    planned, read = challenge()
    assert planned.unpinned == {}
    assert log_challenge(challenge.path, read, planned, store) == []
    (logged,) = store.load_decisions()[0]
    assert logged.text == challenge.path.read_text()
    write_set(tmp_path / "images", {"one": noise(3)})
    with pytest.raises(DataError, match=r"data\[0\].digest: ours holds other images") as caught:
        challenge()
    assert identity.digest in caught.value.problems[0]


def test_declared_data_is_what_its_declaration_says(challenge):
    planned, _ = challenge(('name = "ours"\nfolder = "images"', 'name = "demo"'))
    (_, identity), *_ = planned.suite.data
    assert (identity.verified, identity.pinned, identity.hidden) == (True, False, False)
    assert planned.unpinned == {}


def test_hidden_images_are_marked(challenge):
    planned, _ = challenge(('folder = "images"', 'folder = "images"\nhidden = true'))
    assert all(identity.hidden for _, identity in planned.suite.data)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('["submissions/*"]', '["nothing/*"]', "entries: there is no entry to run"),
        ('["submissions/*"]', '["submissions/team9-z"]', "team9-z does not exist"),
        ('["submissions/*"]', '["nearset"]', "no network is registered as 'nearset'"),
        ('baseline = "nearest"', 'baseline = "nearset"', "no network is registered as 'nearset'"),
        ('folder = "images"', 'folder = "image"', "image: there is no such folder"),
        ("[protocol]", '[environments]\nteam9-z = "x"\n[protocol]', "team9-z is not among"),
    ],
)
def test_what_cannot_run_is_told_before_anything_does(challenge, old, new, says):
    with pytest.raises((UsageError, DataError)) as caught:
        challenge((old, new))
    assert says in f"{caught.value.message} {caught.value.advice}"
