"""``esrbench convert-weights`` reads in a worker, checks the answer, and writes all or nothing."""

import hashlib
import json
import os
import tomllib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
import typer
from typer.testing import CliRunner

from esrbench.cli.convert_weights import convert_weights_command
from esrbench.errors import UsageError, WeightsError
from esrbench.weights.conversion import Conversion, convert
from esrbench.worker import launcher
from esrbench.worker.failure import WorkerError

APP = typer.Typer(add_completion=False)
APP.command()(convert_weights_command)


def state():
    return {"head.weight": torch.arange(6.0).reshape(2, 3), "head.bias": torch.tensor([0.5, -1.0])}


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({"params_ema": state(), "params": state(), "epoch": 7}, path)
    return path


def invoke(*arguments):
    return CliRunner().invoke(APP, [*map(str, arguments)])


def refused(*arguments):
    error = invoke(*arguments).exception
    assert isinstance(error, WeightsError | UsageError | WorkerError)
    assert error.advice
    return error


@dataclass
class Worker:
    """Converts in this process, or does what a worker in a stranger's hands may do."""

    banner: str | None = None
    error: WorkerError | None = None
    change: bytes | None = None
    asked: dict[str, Any] = field(default_factory=dict)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def worker(self, **fields):
        self.asked |= fields
        return self

    @property
    def sandbox(self):
        return SimpleNamespace(banner=self.banner)

    def convert_weights(self, path, **fields):
        self.asked |= fields
        if self.error is not None:
            raise self.error
        report, content = convert(path, **fields)
        return Conversion(report, content if self.change is None else self.change)


@pytest.fixture
def worker(monkeypatch):
    stand_in = Worker()

    def open_launcher(choice):
        stand_in.asked["isolation"] = choice
        return stand_in

    monkeypatch.setattr(launcher, "open_launcher", open_launcher)
    return stand_in


@pytest.mark.parametrize("isolation", ["auto", "subprocess"])
def test_in_a_real_worker(checkpoint, isolation):
    done = invoke(checkpoint, "--isolation", isolation)
    assert done.exit_code == 0, done.output
    target = checkpoint.with_suffix(".safetensors")
    found = safetensors.torch.load_file(target)
    assert found.keys() == state().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state().items())
    table = tomllib.loads(done.stdout)
    assert table == {
        "weights": {
            "file": "net.safetensors",
            "bytes": target.stat().st_size,
            "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        }
    }


def test_program_in_a_real_worker(tmp_path):
    trace = tmp_path / "ran"

    class Program:
        def __reduce__(self):
            return os.mkdir, (str(trace),)

    path = tmp_path / "evil.pth"
    torch.save({"w": Program()}, path)
    error = refused(path)
    assert isinstance(error, WeightsError)
    assert error.message.startswith(f"{path}: holds pickled Python objects (posix.mkdir)")
    assert not trace.exists()
    assert [child.name for child in tmp_path.iterdir()] == ["evil.pth"]


@pytest.mark.usefixtures("worker")
def test_choices_are_told_on_stderr(checkpoint):
    done = invoke(checkpoint)
    assert "2 tensors (2 float32), 8 elements" in done.stderr
    assert "took the state dict under 'params_ema'; key='params' takes params" in done.stderr
    assert "left out: params: dict of 2; epoch: int" in done.stderr


@pytest.mark.usefixtures("worker")
def test_json(checkpoint, tmp_path):
    target = tmp_path / "other.safetensors"
    done = invoke(checkpoint, "-o", target, "--json")
    document = json.loads(done.stdout)
    assert document["file"] == str(target)
    assert document["key"] == "params_ema"
    assert document["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert document["source_sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()


def test_what_is_declared_reaches_the_worker(checkpoint, worker):
    options = ("--key", "params", "--prefix", "head.", "--rename", "weight=w", "--timeout", 9)
    assert invoke(checkpoint, *options, "--isolation", "landlock").exit_code == 0
    assert worker.asked == {
        "isolation": "landlock",
        "readable": [checkpoint.resolve()],
        "timeout_seconds": 9,
        "key": "params",
        "prefix": "head.",
        "renames": [("weight", "w")],
    }
    found = safetensors.torch.load_file(checkpoint.with_suffix(".safetensors"))
    assert found.keys() == {"w", "bias"}


def test_empty_options_mean_the_file_as_it_is(checkpoint, worker):
    refused(checkpoint, "--key", "", "--prefix", "")
    assert worker.asked["key"] == ""
    assert worker.asked["prefix"] == ""


def test_a_weak_sandbox_is_told(checkpoint, worker):
    worker.banner = "no sandbox"
    assert "warning: no sandbox" in invoke(checkpoint).stderr


@pytest.mark.usefixtures("worker")
def test_nothing_is_replaced_unless_told(checkpoint):
    target = checkpoint.with_suffix(".safetensors")
    target.write_bytes(b"mine")
    error = refused(checkpoint)
    assert error.message == f"{target}: exists already"
    assert target.read_bytes() == b"mine"
    assert invoke(checkpoint, "--force").exit_code == 0
    assert safetensors.torch.load_file(target).keys() == state().keys()


@pytest.mark.usefixtures("worker")
def test_source_is_never_replaced(tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(state(), path)
    before = path.read_bytes()
    assert "the output would replace the input file" in refused(path, "--force").message
    linked = tmp_path / "link.safetensors"
    linked.symlink_to(path)
    assert "replace the input file" in refused(path, "--force", "-o", linked).message
    assert path.read_bytes() == before


@pytest.mark.usefixtures("worker")
def test_paths_that_cannot_be_used(checkpoint, tmp_path):
    assert "there is no such file" in refused(tmp_path / "no.pth").message
    assert "ends in .safetensors" in refused(checkpoint, "-o", tmp_path / "out.pth").message
    nowhere = tmp_path / "no" / "out.safetensors"
    assert "there is no folder" in refused(checkpoint, "-o", nowhere).message
    assert "expected THEIRS=OURS" in refused(checkpoint, "--rename", "a").message
    assert [child.name for child in tmp_path.iterdir()] == ["net.pth"]


def test_nothing_is_left_where_writing_fails(checkpoint, monkeypatch, worker):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "No space left on device" in refused(checkpoint).message
    assert [child.name for child in checkpoint.parent.iterdir()] == ["net.pth"]
    assert worker.asked["key"] is None


def test_a_worker_that_lies_is_not_believed(checkpoint, worker):
    worker.change = b"cPosix\nsystem\n"
    error = refused(checkpoint)
    assert "bytes arrived, but they are not those reported" in error.message
    assert not checkpoint.with_suffix(".safetensors").exists()


def test_a_worker_that_dies(checkpoint, worker):
    worker.error = WorkerError("crash", "it was killed", advice="See its log.", fatal=True)
    error = refused(checkpoint)
    assert error.exit_code == 4
    assert error.message == f"crash: {checkpoint}: it was killed"
    assert not checkpoint.with_suffix(".safetensors").exists()


@pytest.mark.slow
def test_real_weights_in_a_real_worker(shared, tmp_path):
    source = shared / "weights" / "team18_bsrn.pth"
    target = tmp_path / "bsrn.safetensors"
    assert invoke(source, "-o", target).exit_code == 0
    expected = torch.load(source, map_location="cpu", weights_only=True)["params"]
    found = safetensors.torch.load_file(target)
    assert found.keys() == expected.keys()
    assert all(
        torch.equal(found[name].view(torch.int32), tensor.view(torch.int32))
        for name, tensor in expected.items()
    )
