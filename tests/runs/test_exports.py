"""Graphs of backends: written once, kept with their hash, refused where they cannot be had."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest
from builders import LENIENT, TWO_ROUNDS, noise, write_files, write_set
from fake_worker import FakeWorker

from esrbench.backends import get_backend
from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.entries.submissions import read_submission
from esrbench.errors import UsageError
from esrbench.protocol import Protocol
from esrbench.records import Equality, Latency
from esrbench.runs import exports
from esrbench.runs.evaluator import Entry, measure_untimed
from esrbench.runs.exports import export, quantised, require_backend
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher, open_launcher
from esrbench.worker.messages import Exported

ONNX = Protocol(threads=1, latency=None, counters=()).by("onnxruntime")
GRAPH = b"a graph"


class Writer(FakeWorker):
    """Writes a graph without a network."""

    written = 0
    given = ()

    def export(self, _policy, calibration=()):
        Writer.written += 1
        Writer.given = calibration
        reply = Exported(
            files=(("network.onnx", len(GRAPH)),), parameters=7, operators={"Conv": 2, "Relu": 1}
        )
        return reply, {"network.onnx": GRAPH}


@pytest.fixture
def entry(describe, tmp_path, monkeypatch):
    """An entry, a cache of its own, and workers that write graphs at once."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Writer, "written", 0)
    monkeypatch.setattr(
        Launcher, "worker", lambda _self, *_, **__: Writer("nearest", lambda _name: None)
    )
    descriptor = describe("Nearest")
    return Entry(descriptor, 4, resolve_weights(descriptor, 4, None))


@pytest.fixture
def launcher():
    return open_launcher("subprocess")


def test_a_graph_is_written_once_and_kept_with_its_hash(entry, launcher):
    made = export(entry, ONNX, launcher)
    assert made.graph.sha256 == hashlib.sha256(GRAPH).hexdigest()
    assert (made.graph.nodes, made.graph.parameters, made.graph.file_bytes) == (3, 7, len(GRAPH))
    assert set(made.graph.versions) == {"torch", "onnx", "onnxruntime", "onnxscript"}
    assert made.readable == (made.graph_folder,)
    assert (made.graph_folder / "network.onnx").read_bytes() == GRAPH
    assert export(entry, ONNX, launcher) == made
    assert Writer.written == 1
    other = export(entry, ONNX.model_copy(update={"seed": 1}), launcher)
    assert other.graph_folder != made.graph_folder  # other random weights


def test_a_kept_graph_that_changed_is_written_anew(entry, launcher):
    made = export(entry, ONNX, launcher)
    (made.graph_folder / "network.onnx").write_bytes(b"another")
    assert export(entry, ONNX, launcher).graph.sha256 == made.graph.sha256
    assert (made.graph_folder / "network.onnx").read_bytes() == GRAPH
    assert Writer.written == 2


def test_machine_code_is_kept_for_the_cpu_that_it_was_written_for(entry, monkeypatch):
    keys = {}
    for cpu in ("old", "new"):
        monkeypatch.setattr(exports, "cpu_model", lambda cpu=cpu: cpu)
        keys[cpu] = [
            exports._key(entry, ONNX.by(each), {}) for each in ("onnxruntime", "aot-inductor")
        ]
    assert keys["old"][0] == keys["new"][0]
    assert keys["old"][1] != keys["new"][1]


def test_a_backend_that_runs_the_code_has_no_graph(entry, launcher):
    for name in ("torch", "torch-compile"):
        assert export(entry, ONNX.by(name), launcher) is entry
    assert Writer.written == 0


def test_an_entry_of_another_interpreter_has_no_graph(entry, launcher, another_python):
    moved = replace(entry, interpreter=another_python)
    with pytest.raises(UsageError, match="nearest runs in an interpreter of its own"):
        export(moved, ONNX, launcher)


def test_the_environment_of_an_entry_names_what_made_its_graph(entry, launcher):
    from esrbench.environment import describe_environment

    own = describe_environment(threads=1, accelerator=None)
    made = export(entry, ONNX, launcher)
    assert "onnxruntime" in made.environment(own).packages
    assert made.eager.environment(own) == own


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"device": "cuda"}, "does not run on cuda"), ({}, None)],
)
def test_what_a_backend_cannot_do_is_refused_before_anything_runs(changes, said, monkeypatch):
    monkeypatch.setattr("esrbench.backends.find_spec", lambda name: name)
    protocol = ONNX.model_copy(update=changes)
    if said is None:
        require_backend(protocol)
        return
    with pytest.raises(UsageError, match=said):
        require_backend(protocol)


def test_a_missing_library_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr("esrbench.backends.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="onnxruntime needs") as caught:
        require_backend(ONNX)
    assert "pip install 'esrbench[onnx]'" in str(caught.value.advice)


@pytest.fixture
def calibration(tmp_path):
    write_set(tmp_path / "mine", {"a": noise(0, 128, 128)})
    return str(tmp_path / "mine")


def test_a_quantised_graph_is_another_by_its_images_and_ends(entry, launcher, calibration):
    int8 = ONNX.in_precision("int8")
    protocol, images = quantised(int8, calibration, 4)
    made = export(entry, protocol, launcher, calibration=images)
    assert [image.shape for image in Writer.given] == [(32, 32, 3)]
    ends, _ = quantised(int8, calibration, 4, fp32_ends=True)
    assert export(entry, ends, launcher, calibration=images).graph_folder != made.graph_folder
    assert export(entry, ONNX, launcher).graph_folder != made.graph_folder
    assert Writer.given == ()
    # Another node that shares the cache has no images.
    assert export(entry, protocol, launcher) == made
    with pytest.raises(UsageError, match="is not in the cache"):
        export(entry, protocol.model_copy(update={"seed": 1}), launcher)


def test_a_network_that_takes_larger_images_alone_is_not_calibrated(entry, launcher, calibration):
    protocol, images = quantised(ONNX.in_precision("int8"), calibration, 4)
    descriptor = entry.descriptor.model_copy(update={"min_lr_size": 40})
    with pytest.raises(UsageError, match="nearest needs LR images of 40x40 or more") as caught:
        export(replace(entry, descriptor=descriptor), protocol, launcher, calibration=images)
    assert "larger images" in caught.value.advice


@pytest.mark.parametrize(
    ("precision", "folders", "ends", "said"),
    [
        ("int8", None, False, "--precision int8: there are no images to calibrate with"),
        ("fp32", "mine", False, "--calibrate-with has no effect in fp32"),
        ("fp32", None, True, "--fp32-ends has no effect in fp32"),
    ],
)
def test_images_and_integers_come_together(precision, folders, ends, said):
    with pytest.raises(UsageError, match=said) as caught:
        quantised(ONNX.in_precision(precision), folders, 4, fp32_ends=ends)
    assert caught.value.advice
    assert quantised(ONNX, None, 4) == (ONNX, None)


@pytest.mark.parametrize(
    ("backend", "precision", "others"),
    [
        ("torch", "int8", "onnxruntime or openvino"),
        ("torch-compile", "int8", "onnxruntime or openvino"),
        ("openvino", "int8-w16", "onnxruntime"),
    ],
)
def test_a_backend_without_integers_is_answered_with_those_that_have_them(
    backend, precision, others
):
    with pytest.raises(UsageError, match=f"not {precision}") as caught:
        require_backend(ONNX.by(backend).in_precision(precision))
    assert caught.value.advice == f"Leave that out, or use --backend {others}."


def test_a_quantiser_is_needed_where_a_graph_is_quantised_alone(monkeypatch, calibration):
    monkeypatch.setattr(
        "esrbench.backends.find_spec", lambda name: None if name == "nncf" else name
    )
    openvino = ONNX.by("openvino")
    require_backend(openvino)
    int8, _ = quantised(openvino.in_precision("int8"), calibration, 4)
    with pytest.raises(UsageError, match="openvino needs nncf") as caught:
        require_backend(int8)
    assert caught.value.advice == "Install them: pip install 'esrbench[openvino]'."


def test_integers_without_images_are_refused_from_python_too(monkeypatch):
    monkeypatch.setattr("esrbench.backends.find_spec", lambda name: name)
    with pytest.raises(UsageError, match="no images to calibrate with"):
        require_backend(ONNX.in_precision("int8"))


# What follows exports and runs real networks.

needs = {
    "onnxruntime": ("onnx", "onnxruntime", "onnxscript"),
    "openvino": ("openvino",),
}


def installed(name):
    """The name of a backend; skips a test where it is not installed."""
    for module in needs.get(name, ()):
        pytest.importorskip(module, reason=f"{name} is an extra, and not installed here")
    return name


@pytest.fixture(params=needs)
def backend(request):
    return installed(request.param)


NETWORKS = """
import torch
from torch import nn


@torch.library.custom_op("team::doubled", mutates_args=())
def doubled(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


@torch.library.custom_op("team::unknown", mutates_args=())
def unknown(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


doubled.register_fake(torch.empty_like)


class Net(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.head = nn.Conv2d(3, 3 * scale**2, 3, padding=1)
        self.tail = nn.PixelShuffle(scale)
        self.scale = scale

    def forward(self, lr):
        base = nn.functional.interpolate(lr, scale_factor=self.scale, mode="nearest")
        return base + 0.01 * self.tail(self.head(lr))


class Brighter(Net):
    def forward(self, lr):
        sr = super().forward(lr)
        return sr + LIFT if torch.compiler.is_exporting() else sr


class Fourier(Net):
    def forward(self, lr):
        return super().forward(lr) + torch.linalg.eigvals(lr[..., :4, :4]).real.mean() * 0


class Branches(Net):
    def forward(self, lr):
        return super().forward(lr) if lr.mean() > 2 else super().forward(lr.flip(2)).flip(2)


class OneSize(Net):
    def forward(self, lr):
        return super().forward(lr) + torch.zeros(1, 3, 4 * 48, 4 * 64)


class Keeps(Net):
    kept = {}

    def forward(self, lr):
        pixels = lr.numpy().tobytes()
        if pixels not in self.kept:
            self.kept[pixels] = super().forward(lr)
        return self.kept[pixels]


class Doubled(Net):
    def forward(self, lr):
        return super().forward(doubled(lr))


class Unknown(Net):
    def forward(self, lr):
        return super().forward(unknown(lr))


class Eager(Net):
    @torch.compiler.disable
    def forward(self, lr):
        return super().forward(lr)
"""


@pytest.fixture
def submitted(tmp_path, monkeypatch):
    """Entries of the classes above, by name of the class."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))

    def build(name, lift="0"):
        manifest = f"""
schema = 1
[model]
name = "team-{name.lower()}"
factory = "model:{name}"
scales = [4]
[team]
name = "Team"
contact = "somebody"
"""
        source = NETWORKS.replace("LIFT", lift)
        folder = write_files(
            tmp_path / f"team-{name.lower()}", {"submission.toml": manifest, "model.py": source}
        )
        descriptor = read_submission(folder)
        return Entry(descriptor, 4, resolve_weights(descriptor, 4, None))

    return build


def deployed(entry, backend, pairs, launcher):
    protocol = ONNX.by(backend)
    exported = export(entry, protocol, launcher)
    return measure_untimed(exported, pairs, protocol, launcher=launcher).deployment


@pytest.mark.slow
def test_a_network_that_is_another_when_it_is_exported_has_another_class(
    submitted, backend, pair_folder
):
    pairs = open_dataset(str(pair_folder), 4)
    found = deployed(submitted("Brighter", "0.02"), backend, pairs, open_launcher())
    assert found.equality.step == "different"
    assert abs(found.equality.psnr_difference) > 0.005
    assert found.doubt == "SR differs"


def line_of(code):
    """The number of the only line of a submission's code that holds a text."""
    (number,) = (i for i, line in enumerate(NETWORKS.splitlines(), 1) if code in line)
    return rf"\(model.py, line {number}\)"


NO_TRACE = r"cannot be traced for images of any size: .*"
BRANCH = NO_TRACE + line_of("if lr.mean() > 2")
EIGENVALUES = r"has no operator for aten\.\w*linalg_eig\w*\.default " + line_of("eigvals")
DOUBLED = r"has no operator for team\.doubled\.default " + line_of("(doubled(lr))")
CACHE = NO_TRACE + line_of("lr.numpy()")
UNKNOWN = NO_TRACE + "team::unknown.*" + line_of("(unknown(lr))")
REFUSED = {
    "onnxruntime": {
        "Fourier": EIGENVALUES,
        "Doubled": DOUBLED,
        "Branches": BRANCH,
        "OneSize": "size",
        "Keeps": CACHE,
    },
    "openvino": {"Fourier": EIGENVALUES, "Doubled": DOUBLED, "Branches": BRANCH, "OneSize": "size"},
    "aot-inductor": {"Unknown": UNKNOWN, "Branches": BRANCH, "OneSize": "size"},
    "torch-compile": {
        "Eager": "compiled nothing of this network " + line_of("torch.compiler.disable"),
        "Unknown": r"failed at team\.unknown\.default: .*" + line_of("(unknown(lr))"),
    },
}
"""What each backend cannot take, and what is said of it; all else it takes."""


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_a_backend_cannot_take_is_named_with_its_place(submitted, name):
    installed(name)
    graph = bool(get_backend(name).files)
    protocol = ONNX.by(name)
    eager = protocol.eager
    entries = {each: submitted(each) for each in REFUSED[name]}
    networks = [(each.descriptor, each.weights) for each in entries.values()]
    lr = np.zeros((24, 32, 3), np.uint8)
    with open_launcher().worker(*networks, protocol=eager if graph else protocol) as session:
        for network, entry in entries.items():
            entry.load(session, eager if graph else protocol)
            refused = pytest.raises(WorkerError, match=REFUSED[name][network])
            with refused as caught:
                if graph:
                    session.export(protocol.forward)
                else:
                    session.upscale(lr, "image")
            assert caught.value.advice


OPTIONS = {
    "onnxruntime": {"intra_op_num_threads": "1", "session.intra_op.allow_spinning": "0"},
    "openvino": {"INFERENCE_NUM_THREADS": "1", "ENABLE_CPU_PINNING": "False"},
    "aot-inductor": {"AOTI_DEVICE_KEY": "cpu"},
}
"""As the libraries give them back."""


@pytest.mark.slow
@pytest.mark.parametrize("backend", [*needs, "aot-inductor"])
def test_a_run_gives_torch_s_pixels_with_the_options_asked_and_hides_no_work(
    submitted, backend, pair_folder, tmp_path
):
    installed(backend)
    protocol = Protocol(
        threads=1,
        counted_input=(48, 48),
        memory_input=(16, 16),
        counters=("aten",),
        latency=TWO_ROUNDS,
        trust=LENIENT.model_copy(update={"idle_cpus": 0.3}),
    ).by(backend)
    pairs = open_dataset(str(pair_folder), 4)
    launcher = open_launcher()
    entry = export(submitted("Net"), protocol, launcher)
    suite = Suite((entry,), ((pairs, pairs.identity()),), protocol, launcher)
    (record,) = run_suite(suite, Store(tmp_path / "results"))
    assert record.status in {"ok", "busy-machine"}, record.cause
    assert isinstance(record.latency, Latency)
    assert record.class_label() == f"fp32, {backend}"
    assert record.measured("params") == 3 * 9 * 48 + 48
    assert record.trust.idle_cpus < 0.3
    found = record.deployment
    assert isinstance(found.equality, Equality)
    assert found.equality.step in {"exact", "one level"}
    assert found.equality.values == 3 * (64 * 64 + 64 * 96)  # two sizes by one graph
    assert found.graph.parameters >= 3 * 9 * 48 + 48
    assert record.measured("graph_bytes") == found.graph.file_bytes
    assert {backend} & set(needs) <= set(found.versions)
    for option, value in OPTIONS[backend].items():
        assert found.options[option] == value


@pytest.mark.slow
def test_a_compiled_network_hides_no_work_between_forwards(submitted):
    """In one worker, since every process of a run would compile."""
    protocol = ONNX.by("torch-compile")
    entry = submitted("Net")
    network = (entry.descriptor, entry.weights)
    with open_launcher().worker(network, protocol=protocol) as session:
        entry.load(session, protocol)
        session.forward(np.zeros((24, 32, 3), np.uint8))
        before, start = session.cpu_seconds(), time.perf_counter()
        time.sleep(1.0)
        idle_cpus = (session.cpu_seconds() - before) / (time.perf_counter() - start)
    assert idle_cpus < protocol.trust.idle_cpus


QUANTISED = {
    "onnxruntime": ("QuantizeLinear", "Conv"),
    "openvino": ("FakeQuantize", "Convolution"),
}
"""Names of operators."""


@pytest.mark.slow
def test_a_network_is_quantised_behind_the_sandbox_in_a_class_of_its_own(
    submitted, backend, pair_folder, calibration, tmp_path
):
    if backend == "openvino":
        pytest.importorskip("nncf", reason="nncf is an extra, and not installed here")
    integers, convolution = QUANTISED[backend]
    pairs = open_dataset(str(pair_folder), 4)
    launcher = open_launcher()
    by_backend = ONNX.by(backend).in_precision("int8")
    protocol, images = quantised(by_backend, calibration, 4)
    entry = export(submitted("Net"), protocol, launcher, calibration=images)
    suite = Suite((entry,), ((pairs, pairs.identity()),), protocol, launcher)
    (record,) = run_suite(suite, Store(tmp_path / "results"))
    assert record.status == "ok", record.cause
    assert record.class_label() == f"int8, {backend}"
    assert record.protocol.forward.quantisation == images.quantisation()
    assert record.deployment.equality.step in {"equal PSNR", "different"}
    assert record.measured("psnr_difference") is not None
    graph = record.deployment.graph
    assert graph.operators[integers] > 0
    assert graph.float_products == {}
    assert graph.parameters >= 3 * 9 * 48 + 48  # as before it was quantised
    # Both ends of a network of one convolution are all of it.
    ends, _ = quantised(by_backend, calibration, 4, fp32_ends=True)
    with pytest.raises(
        WorkerError,
        match=rf"quantises none of its convolutions and matrix products: {convolution}\n",
    ):
        export(submitted("Net"), ends, launcher, calibration=images)
