from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from esrbench.data.datasets import open_dataset
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.networks import ResolvedWeights, resolve_weights
from esrbench.protocol import ForwardPolicy, Protocol
from esrbench.records import WeightsIdentity
from esrbench.runs.evaluator import Entry
from esrbench.runs.plan import Suite, hidden_images
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.sandbox.tiers import PlainProcess
from esrbench.worker.launcher import Launcher, open_launcher
from esrbench.worker.session import WorkerSession

HIDDEN = (Path("/results"),)


@pytest.fixture
def launcher():
    return Launcher(PlainProcess(), HIDDEN)


def test_a_worker_sees_what_its_networks_need_and_nothing_that_is_hidden(
    launcher, tmp_path, describe
):
    weights = tmp_path / "link.safetensors"
    (tmp_path / "real.safetensors").write_bytes(b"")
    weights.symlink_to(tmp_path / "real.safetensors")
    resolved = ResolvedWeights(WeightsIdentity(source="file"), weights)
    descriptor = describe("Nearest")
    session = launcher.worker(
        (descriptor, resolved), readable=(tmp_path / "more",), timeout_seconds=7
    )
    code = Path(descriptor.factory.rpartition(":")[0]).parent
    assert set(session.process.view.readable) == {
        tmp_path / "more",
        code,
        # Where the link leads: the link itself is no file in the sandbox.
        (tmp_path / "real.safetensors").resolve(),
    }
    assert session.process.view.hidden == HIDDEN
    assert session.process.view.python_path == (code,)
    assert session.process.view.device == "cpu"
    assert session.process.timeout_seconds == 7
    assert not session.process.limits.processes


def test_two_networks_of_one_place_share_it(launcher, describe):
    session = launcher.worker((describe("Nearest"), None), (describe("Plain"), None))
    assert len(session.process.view.readable) == len(session.process.view.python_path) == 1


def test_a_submission_sees_its_own_folder_and_the_protocol_says_what_else(launcher, tmp_path):
    (tmp_path / "model.py").write_text("")
    descriptor = ModelDescriptor(
        name="team-net",
        summary="test",
        scales=(4,),
        factory="model:Net",
        folder=str(tmp_path),
    )
    protocol = Protocol(device="cuda", forward=ForwardPolicy(backend="torch-compile"))
    session = launcher.worker((descriptor, None), protocol=protocol)
    assert session.process.view.readable == (tmp_path,)
    assert session.process.view.device == "cuda"
    # Compilers are processes.
    assert session.process.limits.processes
    compiled_before = Protocol(forward=ForwardPolicy(backend="aot-inductor"))
    session = launcher.worker((descriptor, None), protocol=compiled_before)
    assert not session.process.limits.processes


def test_a_worker_sees_the_gpu_of_its_launcher_alone(launcher, describe, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    network = (describe("Nearest"), None)
    second = replace(launcher, gpu=1)
    for started_by, device, seen in (
        (second, "cuda", "5"),
        (launcher, "cuda", "3"),
        (second, "cpu", ""),
    ):
        session = started_by.worker(network, protocol=Protocol(device=device), timed=True)
        assert session.process.variables == {"CUDA_VISIBLE_DEVICES": seen}
    assert second.hiding([Path("/hr")]).gpu == 1
    assert open_launcher("subprocess", gpu=1).gpu == 1


def test_threads_sleep_while_they_wait_unless_their_forwards_are_timed(launcher, describe):
    network = (describe("Nearest"), None)
    told = [launcher.worker(network, timed=timed).process.variables for timed in (False, True)]
    assert [each.get("OMP_WAIT_POLICY") for each in told] == ["passive", None]


def test_hiding_adds_to_what_is_hidden(launcher):
    more = launcher.hiding([Path("/hr"), Path("/results"), Path("/hr")])
    assert more.hidden == (Path("/results"), Path("/hr"))
    assert launcher.hidden == HIDDEN


def test_the_demo_s_photographs_are_hidden_from_the_start():
    (photographs,) = open_launcher("subprocess").hidden
    assert (photographs / "astronaut.png").is_file()


def test_a_data_set_s_images_lie_in_these_folders(pair_folder):
    folders = {(pair_folder / "HR").resolve(), (pair_folder / "LR_bicubic" / "X4").resolve()}
    assert set(hidden_images(open_dataset(str(pair_folder), 4))) == folders


def test_images_other_submissions_and_results_are_hidden_in_a_run(
    launcher, pair_folder, tmp_path, monkeypatch
):
    class Stopped(Exception):  # noqa: N818 - not an error
        pass

    seen = []

    def enter(session):
        seen.append(session.process.view)
        raise Stopped

    monkeypatch.setattr(WorkerSession, "__enter__", enter)
    pairs = open_dataset(str(pair_folder), 4)
    entries = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        descriptor = ModelDescriptor(
            name=name, summary="test", scales=(4,), factory="m:N", folder=str(tmp_path / name)
        )
        entries.append(Entry(descriptor, 4, resolve_weights(descriptor, 4, None)))
    suite = Suite(tuple(entries), ((pairs, pairs.identity()),), Protocol(), launcher)
    with pytest.raises(Stopped):
        list(run_suite(suite, Store(tmp_path / "results")))
    (view,) = seen
    assert view.readable == (tmp_path / "one",)
    others = {*HIDDEN, *hidden_images(pairs), tmp_path / "two"}
    assert others < set(view.hidden)
    stored = set(view.hidden) - others
    results = (tmp_path / "results").resolve()
    assert results in stored or {results / "runs", results / "races"} <= stored
