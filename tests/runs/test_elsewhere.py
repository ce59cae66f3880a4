from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load

from esrbench.data.datasets import open_dataset
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights, build_network, resolve_weights
from esrbench.entries.registry import default_registry
from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.records import Absent, WeightsIdentity
from esrbench.runs.elsewhere import (
    COMPARED_IMAGES,
    converted_state,
    count_here,
    draw_samples,
    find_interpreters,
    own_software,
)
from esrbench.runs.evaluator import Entry
from esrbench.runs.fingerprint import expected_environment
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher
from esrbench.worker.messages import Ready

RFDN = default_registry().get("rfdn")
READY = Ready(
    parameters=1,
    threads=1,
    cpus=(),
    accelerator=None,
    code_sha256="a" * 64,
    state_elements=10,
    deployed_elements=9,
)
COUNTED = Absent(kind="skipped", reason="this stands for counts")


class Session:
    """A worker that repeats pixels, off by so many levels."""

    def __init__(self, off=0, says=None):
        self.off = off
        self.says = says

    def upscale(self, lr, _name):
        return np.clip(lr.repeat(4, 0).repeat(4, 1).astype(int) + self.off, 0, 255).astype(np.uint8)

    def count_complexity(self):
        if self.says:
            raise WorkerError("forward-error", self.says, fatal=False)
        return COUNTED


class Many:
    """Fifty images of a pixel."""

    pairs = [SimpleNamespace(name=str(number)) for number in range(50)]

    def __len__(self):
        return len(self.pairs)

    def read_lr(self, number):
        return np.full((1, 1, 3), number, np.uint8)


@pytest.fixture(scope="module")
def pairs(shared_pair_folder):
    return open_dataset(str(shared_pair_folder), 4)


def counted(pairs, *, here=READY, **fields):
    samples = draw_samples(Session().upscale, pairs)
    return count_here(Session(**fields), lambda _: here, ready=READY, samples=samples)


@pytest.mark.parametrize("off", [0, 1, -1])
def test_counts_stand_where_images_are_the_same_within_a_level(pairs, off):
    assert counted(pairs, off=off) is COUNTED


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"off": 2}, "differs by 2 levels there"),
        ({"here": READY.model_copy(update={"code_sha256": "b" * 64})}, "its code differs"),
        ({"here": READY.model_copy(update={"state_elements": 11})}, "its weights differ"),
        ({"here": READY.model_copy(update={"deployed_elements": 8})}, "its number of parameters"),
        ({"says": "no such operator"}, "no such operator"),
    ],
)
def test_otherwise_they_are_absent_with_the_reason(pairs, fields, says):
    found = counted(pairs, **fields)
    assert isinstance(found, Absent)
    assert found.kind == "unavailable"
    assert found.failure is None
    assert says in found.reason
    assert own_software().describe() in found.reason
    assert found.advice


def test_samples_are_drawn_and_few(pairs):
    drawn = draw_samples(Session().upscale, pairs)
    assert [name for name, _, _ in drawn] == [pair.name for pair in pairs.pairs]
    seen = {tuple(n for n, *_ in draw_samples(Session().upscale, Many())) for _ in range(20)}
    assert all(len(each) == COMPARED_IMAGES for each in seen)
    assert len(seen) > 1


def test_weights_are_sent_as_safetensors(tmp_path):
    state = build_network(RFDN, 4, seed=2).state_dict()
    path = tmp_path / "w.pth"
    torch.save({"params": {f"module.{name}": each for name, each in state.items()}}, path)
    released = RFDN.weights[0].model_copy(
        update={
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "key": "params",
            "prefix": "module.",
            "renames": (),
        }
    )
    weights = ResolvedWeights(WeightsIdentity(source="file"), path, released)
    found = load(converted_state(weights, open_launcher()))
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert converted_state(resolve_weights(RFDN, 4, None), open_launcher()) == b""


def test_who_runs_where_is_checked_first(tmp_path):
    for name, says in (("imdn", "not among the networks"), ("rfdn", "cannot be started")):
        with pytest.raises(UsageError, match=says):
            find_interpreters({name: str(tmp_path / "nothing/python")}, {"rfdn": RFDN})
    installed = ModelDescriptor(name="net", summary="", scales=(4,), factory="somewhere.nets:Net")
    with pytest.raises(
        UsageError, match=r"somewhere\.nets is installed in the environment of esrbench"
    ):
        find_interpreters({"net": "python"}, {"net": installed})
    with pytest.raises(UsageError, match="no environment 'nowhere'"):
        find_interpreters({"rfdn": "nowhere"}, {"rfdn": RFDN})
    with pytest.raises(UsageError, match=r"team\* is not among the networks"):
        find_interpreters({"team*": "nowhere"}, {"rfdn": RFDN})


def test_a_pattern_names_many_entries_and_a_name_wins(monkeypatch, tmp_path):
    monkeypatch.setattr("esrbench.runs.elsewhere.entry_interpreter", str)
    entries = {name: RFDN.model_copy(update={"name": name}) for name in ("team1-a", "team2-b", "x")}
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    chosen = {"team2-b": old, "team*": new}
    assert find_interpreters(chosen, entries) == {"team1-a": new, "team2-b": old}


def test_an_entry_s_environment_names_its_software(another_python):
    entry = Entry(RFDN, 4, resolve_weights(RFDN, 4, None), another_python, b"")
    own = expected_environment(Protocol(), "subprocess")
    moved = entry.environment(own.model_copy(update={"python": "0", "packages": {"fvcore": "1"}}))
    versions = dict(another_python.versions)
    assert moved.python == versions["python"]
    assert moved.packages == {"fvcore": "1", "torch": versions["torch"], "numpy": versions["numpy"]}
    still = Entry(RFDN, 4, resolve_weights(RFDN, 4, None))
    assert still.environment(own) is own
    assert still.form != entry.form
