"""Pickled weights reach this process only by a worker where torch's own reader has holes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from esrbench.entries.descriptor import ReleasedWeights
from esrbench.entries.weight_files import require_intact
from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import file_sha256, holds_safetensors
from esrbench.weights.conversion import Conversion, convert
from esrbench.weights.layout import load_file
from esrbench.worker import launcher
from esrbench.worker.failure import WorkerError
from esrbench.worker.reading import without_pickle

STATE = {"weight": torch.arange(6.0).reshape(2, 3)}


@pytest.fixture
def asked(monkeypatch):
    """What workers were asked, which convert in this process; its own reader may not be used."""
    found = []

    class Worker:
        failure = None

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def convert_weights(self, path, **layout):
            found.append((path.name, layout))
            if self.failure is not None:
                raise self.failure
            return Conversion(*convert(path, **layout))

    worker = Worker()
    monkeypatch.setattr(
        launcher, "open_launcher", lambda: SimpleNamespace(worker=lambda **_: worker)
    )
    monkeypatch.setattr("esrbench.torch_versions.reads_data_only", lambda: False)
    return SimpleNamespace(found=found, worker=worker)


@pytest.fixture
def pickled(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"params": {f"net.{name}": tensor for name, tensor in STATE.items()}}, path)
    return path


@pytest.fixture
def declared(pickled):
    """How that file is laid out."""
    return ReleasedWeights(
        scale=4,
        filename="net.pth",
        url=None,
        bytes=pickled.stat().st_size,
        sha256=file_sha256(pickled),
        key=("params",),
        prefix="net.",
        ignore=("surplus",),
        licence="MIT",
    )


def test_a_pickle_is_read_by_a_worker(asked, pickled, declared):
    network = nn.Linear(3, 2, bias=False)
    with without_pickle(pickled, declared) as (path, released):
        assert (path.name, released.key) == ("net.pth", ())
        assert holds_safetensors(path)
        require_intact(path, released, advice="")
        layout = released.model_dump(include={"key", "prefix", "renames", "ignore"})
        load_file(network, path, **layout)
    assert asked.found == [("net.pth", {"key": "params", "prefix": "", "renames": ()})]
    assert torch.equal(network.weight, STATE["weight"])
    assert not path.exists()


def test_without_a_declaration_the_layout_is_found(asked, pickled):
    network = nn.Linear(3, 2, bias=False)
    with without_pickle(pickled) as (path, released):
        assert released is None
        load_file(network, path)
    assert asked.found == [("net.pth", {"key": None, "prefix": "", "renames": ()})]
    assert torch.equal(network.weight, STATE["weight"])


def test_safetensors_and_files_that_are_not_there_need_no_worker(asked, tmp_path):
    named = tmp_path / "net.pth"  # its content decides
    safetensors.torch.save_file(STATE, named)
    for path in (None, named, tmp_path / "no.pth"):
        with without_pickle(path) as (readable, _):
            assert readable == path
    assert asked.found == []


def test_what_a_worker_refuses_is_refused(asked, pickled):
    asked.worker.failure = WorkerError("load-error", "net.pth: no checkpoint", fatal=False)
    with pytest.raises(WeightsError, match=r"^net\.pth: no checkpoint"), without_pickle(pickled):
        pass
    asked.worker.failure = WorkerError("crash", "it was killed", fatal=True)
    said = pytest.raises(WorkerError, match=r"crash: .*net\.pth: it was killed")
    with said, without_pickle(pickled):
        pass


def test_a_file_that_was_altered_is_refused(asked, pickled, declared):
    pickled.write_bytes(pickled.read_bytes() + b"x")
    said = pytest.raises(WeightsError, match=r"net\.pth: \d+ bytes, expected")
    with said, without_pickle(pickled, declared):
        pass
    assert asked.found == []


def test_a_reader_without_holes_is_used_here(asked, pickled, declared, monkeypatch):
    monkeypatch.setattr("esrbench.torch_versions.reads_data_only", lambda: True)
    with without_pickle(pickled, declared) as found:
        assert found == (pickled, declared)
    assert asked.found == []


@pytest.mark.slow
def test_a_real_worker_reads_it(pickled, monkeypatch):
    monkeypatch.setattr("esrbench.torch_versions.reads_data_only", lambda: False)
    monkeypatch.setattr(torch, "load", None)  # not in this process
    with without_pickle(pickled) as (path, _):
        assert torch.equal(safetensors.torch.load_file(path)["net.weight"], STATE["weight"])
