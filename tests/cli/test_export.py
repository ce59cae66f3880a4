"""``esrbench export``, and what commands say of backends that they cannot take."""

from __future__ import annotations

import pytest

from esrbench import backends
from esrbench.entries.registry import default_registry
from esrbench.records import Absent, Deployment, Equality, Graph
from esrbench.runs import exports
from esrbench.runs.exports import ExportedFiles

GRAPH = Graph(
    sha256="a" * 64,
    file_bytes=10,
    parameters=10,
    nodes=3,
    operators={"Conv": 3},
    build_seconds=7.25,
)
EQUAL = Equality(values=100_000, differing=4, largest=1, psnr_difference=0.0)


@pytest.mark.parametrize(
    ("equality", "said"),
    [
        (
            EQUAL,
            "SR of the file compared with that of torch: one level (+0.0000 dB, 0.004% of",
        ),
        (
            Absent(kind="skipped", reason="no image"),
            "was not compared with that of torch: no image",
        ),
    ],
)
def test_what_was_written_is_listed_and_how_it_compares_is_said(
    in_process, monkeypatch, equality, said
):
    deployment = Deployment(backend="onnxruntime", load_seconds=0.1, graph=GRAPH, equality=equality)
    made = ExportedFiles(network="rfdn", scale=4, files=("rfdn_x4.onnx",), deployment=deployment)
    monkeypatch.setattr(exports, "export_files", lambda *_, **__: made)
    done = in_process("export", "rfdn", "--to", "onnx")
    assert "rfdn_x4.onnx" in done.stdout
    assert "a" * 64 in done.stdout
    assert said in done.stderr


def test_a_file_that_is_there_is_not_replaced_unasked(in_process, work, monkeypatch):
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    (work / "rfdn_x4.onnx").write_bytes(b"mine")
    done = in_process("export", "rfdn", "--to", "onnx", code=2)
    assert "rfdn_x4.onnx: exists already" in done.stderr
    assert (work / "rfdn_x4.onnx").read_bytes() == b"mine"


def test_a_backend_that_is_unknown_or_not_installed_ends_before_anything_runs(
    in_process, monkeypatch
):
    assert "rfdn" in default_registry()
    done = in_process("run", "rfdn", "--backend", "onnx", code=2)
    assert "there is no backend 'onnx'" in done.stderr
    monkeypatch.setattr(backends, "find_spec", lambda _name: None)
    for arguments in (("run", "rfdn", "--backend"), ("race", "rfdn", "rfdn", "--backend")):
        done = in_process(*arguments, "openvino", code=2)
        assert "openvino needs openvino" in done.stderr
        assert "pip install 'esrbench[openvino]'" in done.stderr


def test_a_comparison_of_backends_takes_one_data_set_and_known_names(in_process):
    done = in_process("compare", "rfdn", "--backends", "fast", code=2)
    assert "there is no backend 'fast'" in done.stderr
    two = ("--data", "set5", "--data", "set14")
    done = in_process("compare", "rfdn", "--backends", "all", *two, code=2)
    assert "--backends takes one of them" in done.stderr
