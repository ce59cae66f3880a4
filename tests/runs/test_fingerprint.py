from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import esrbench.runs.fingerprint as fingerprints
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights
from esrbench.protocol import Protocol
from esrbench.records import DataIdentity, WeightsIdentity
from esrbench.runs.evaluator import Entry
from esrbench.runs.fingerprint import fingerprint, harness_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = DataIdentity(name="demo", title="demo", scale=4, images=2, digest="0" * 64)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """The parts of a run, with a network in a file of its own."""
    source = tmp_path / "net.py"
    shutil.copy(Path(__file__).parents[1] / "misbehaving.py", source)
    descriptor = ModelDescriptor(
        name="net", summary="test", scales=(2, 4), factory=f"{source}:Nearest"
    )
    identity = WeightsIdentity(source="file", sha256="1" * 64)
    return {
        "entry": Entry(descriptor, 4, ResolvedWeights(identity, tmp_path / "net.pth")),
        "data": DATA,
        "protocol": Protocol(threads=1),
        "tier": "landlock",
        "source": source,
    }


def of(given: dict[str, Any]) -> str:
    environment = fingerprints.expected_environment(given["protocol"], given["tier"])
    return fingerprint(given["entry"], given["data"], given["protocol"], environment)


def with_entry(given: dict[str, Any], **fields: Any) -> None:
    entry = given["entry"]
    given["entry"] = Entry(
        **({"descriptor": entry.descriptor, "scale": 4, "weights": entry.weights} | fields)
    )


def another_weights_file(given: dict[str, Any]) -> None:
    identity = given["entry"].weights.identity.model_copy(update={"sha256": "2" * 64})
    with_entry(given, weights=ResolvedWeights(identity, given["entry"].weights.path))


def no_weights_file(given: dict[str, Any]) -> None:
    with_entry(given, weights=ResolvedWeights(WeightsIdentity(source="random")))


def another_scale(given: dict[str, Any]) -> None:
    with_entry(given, scale=2)


def another_option(given: dict[str, Any]) -> None:
    with_entry(given, descriptor=given["entry"].descriptor.model_copy(update={"options": {"a": 1}}))


def another_source(given: dict[str, Any]) -> None:
    given["source"].write_text(given["source"].read_text() + "# a comment\n")


def another_data(given: dict[str, Any]) -> None:
    given["data"] = DATA.model_copy(update={"digest": "3" * 64})


def another_protocol(given: dict[str, Any]) -> None:
    given["protocol"] = Protocol(threads=1, seed=1)


def another_sandbox(given: dict[str, Any]) -> None:
    given["tier"] = "subprocess"


@pytest.mark.parametrize(
    "change",
    [
        another_weights_file,
        no_weights_file,
        another_scale,
        another_option,
        another_source,
        another_data,
        another_protocol,
        another_sandbox,
    ],
)
def test_every_part_of_a_run_counts(
    given: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    before = of(given)
    assert before == of(given)
    assert len(before) == 64
    change(given)
    assert of(given) != before


def test_the_harness_and_the_machine_count(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of(given)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    disturbed = of(given)
    assert disturbed != before
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setattr(fingerprints, "harness_sha256", lambda: "4" * 64)
    assert of(given) not in {before, disturbed}


def test_what_decides_nothing_does_not_count(given: dict[str, Any], tmp_path: Path) -> None:
    before = of(given)
    # Where the weights lie, a data set's title, other files and other variables.
    with_entry(given, weights=ResolvedWeights(given["entry"].weights.identity, tmp_path / "x.pth"))
    given["data"] = DATA.model_copy(update={"title": "another title", "name": "another"})
    (tmp_path / "notes.txt").write_text("nothing")
    assert of(given) == before


def test_the_harness_is_all_its_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
