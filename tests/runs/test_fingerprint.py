import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import esrbench.runs.fingerprint as fingerprints
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights
from esrbench.protocol import Protocol
from esrbench.records import DataIdentity, WeightsIdentity
from esrbench.runs.evaluator import Entry
from esrbench.runs.fingerprint import fingerprint, harness_sha256

FILE = WeightsIdentity(source="file", sha256="1" * 64)
DATA = DataIdentity(name="demo", title="demo", scale=4, images=2, digest="0" * 64)


@pytest.fixture
def given(tmp_path):
    """The parts of a run, with a network in a file of its own."""
    source = tmp_path / "net.py"
    shutil.copy(Path(__file__).parents[1] / "misbehaving.py", source)
    descriptor = ModelDescriptor(
        name="net", summary="test", scales=(2, 4), factory=f"{source}:Nearest"
    )
    weights = ResolvedWeights(FILE, tmp_path / "net.pth")
    return {
        "entry": Entry(descriptor, 4, weights),
        "data": DATA,
        "protocol": Protocol(threads=1),
        "tier": "landlock",
        "source": source,
    }


def of(given):
    environment = fingerprints.expected_environment(given["protocol"], given["tier"])
    return fingerprint(given["entry"], given["data"], given["protocol"], environment)


def entry(given, **fields):
    return {"entry": replace(given["entry"], **fields)}


def descriptor(given, **fields):
    return given["entry"].descriptor.model_copy(update=fields)


def another_source(given):
    given["source"].write_text(given["source"].read_text() + "# a comment\n")
    return {}


CHANGES = {
    "weights file": lambda given: entry(
        given, weights=ResolvedWeights(FILE.model_copy(update={"sha256": "2" * 64}))
    ),
    "no weights file": lambda given: entry(
        given, weights=ResolvedWeights(WeightsIdentity(source="random"))
    ),
    "scale": lambda given: entry(given, scale=2),
    "option": lambda given: entry(given, descriptor=descriptor(given, options={"a": 1})),
    "source": another_source,
    "data": lambda _: {"data": DATA.model_copy(update={"digest": "3" * 64})},
    "protocol": lambda _: {"protocol": Protocol(threads=1, seed=1)},
    "sandbox": lambda _: {"tier": "subprocess"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_part_of_a_run_counts(given, change):
    before = of(given)
    assert before == of(given)
    assert len(before) == 64
    assert of(given | change(given)) != before


def test_the_harness_and_the_machine_count(given, monkeypatch):
    before = of(given)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    disturbed = of(given)
    assert disturbed != before
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(fingerprints, "harness_sha256", lambda: "4" * 64)
    assert of(given) not in {before, disturbed}


def test_what_decides_nothing_does_not_count(given, tmp_path):
    before = of(given)
    # Where the weights lie, names in tables, other files and other variables.
    given |= entry(given, weights=ResolvedWeights(FILE, tmp_path / "x.pth"))
    given |= entry(given, descriptor=descriptor(given, display_name="Net"))
    given["data"] = DATA.model_copy(update={"title": "another title", "name": "another"})
    (tmp_path / "notes.txt").write_text("nothing")
    assert of(given) == before


def test_the_harness_is_all_its_sources(tmp_path, monkeypatch):
    room = tmp_path / "esrbench" / "runs"
    room.mkdir(parents=True)
    (room / "fingerprint.py").write_text("a = 1\n")
    monkeypatch.setattr(fingerprints, "__file__", str(room / "fingerprint.py"))
    seen = []
    for name, text in (
        ("runs/fingerprint.py", "a = 1\n"),
        ("runs/fingerprint.py", "a = 2\n"),
        ("probes/new.py", ""),
        ("probes/newer.py", ""),
    ):
        path = tmp_path / "esrbench" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        harness_sha256.cache_clear()
        seen.append(harness_sha256())
    (tmp_path / "esrbench" / "probes" / "new.py").rename(
        tmp_path / "esrbench" / "probes" / "old.py"
    )
    harness_sha256.cache_clear()
    seen.append(harness_sha256())
    (tmp_path / "esrbench" / "notes.md").write_text("no source")
    harness_sha256.cache_clear()
    assert harness_sha256() == seen[-1]
    assert len(set(seen)) == 5
    monkeypatch.undo()
    harness_sha256.cache_clear()
