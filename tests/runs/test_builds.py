"""What a submission compiles: where, when, and what it is counted on."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import pytest
from builders import write_files

from esrbench.entries.networks import resolve_weights
from esrbench.entries.submissions import read_submission
from esrbench.errors import MeasurementError, UsageError
from esrbench.protocol import Protocol
from esrbench.records import CounterResult
from esrbench.runs import builds
from esrbench.runs.builds import build
from esrbench.runs.validation import validate_entry
from esrbench.sandbox.interpreters import own_interpreter
from esrbench.sandbox.tiers import PlainProcess, obstacle, open_sandbox
from esrbench.worker.building import build_copy, is_module
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher

SUFFIX = EXTENSION_SUFFIXES[0]
MANIFEST = """
schema = 1
[model]
name = "team-net"
factory = "model:Net"
build = "setup.py build_ext --inplace"
pure_torch = "model:Pure"
scales = [4]
[team]
name = "Team"
contact = "somebody"
"""
WRITES = f"""
import pathlib, sys
assert sys.argv[1:] == ["build_ext", "--inplace"]
pathlib.Path("build").mkdir()
pathlib.Path("build/fast{SUFFIX}").write_bytes(b"object")
pathlib.Path("fast{SUFFIX}").write_bytes(b"module")
pathlib.Path("notes.txt").write_text("no module")
"""
WORDS = ("setup.py", "build_ext", "--inplace")


@pytest.fixture
def submission(tmp_path):
    """A submission whose script writes a module without a compiler."""
    files = {"submission.toml": MANIFEST, "model.py": "", "setup.py": WRITES}
    return write_files(tmp_path / "team-net", files)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(
    params=[
        ("bubblewrap", "require-bwrap"),
        pytest.param(("landlock", "landlock"), marks=pytest.mark.slow),
    ]
)
def confined(request):
    """Every sandbox that works here."""
    tier, choice = request.param
    if said := obstacle(tier):
        pytest.skip(str(said))
    return Launcher(open_sandbox(choice), ())


def test_a_script_runs_in_a_copy_and_its_modules_come_back(submission):
    before = sorted(submission.iterdir())
    assert build_copy(submission, WORDS) == {f"fast{SUFFIX}": b"module"}
    assert sorted(submission.iterdir()) == before


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("raise SystemExit('no nvcc here')", "failed: no nvcc here"),
        ("", "made no module beside its sources"),
    ],
)
def test_a_build_that_fails_says_what_it_said(submission, script, says):
    (submission / "setup.py").write_text(script)
    with pytest.raises(MeasurementError, match=says):
        build_copy(submission, WORDS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (f"fast{SUFFIX}", True),
        (f"ops/fast{SUFFIX}", True),
        (f"../fast{SUFFIX}", False),
        (f"/lib/fast{SUFFIX}", False),
        (f"./fast{SUFFIX}", False),
        ("model.py", False),
    ],
)
def test_only_modules_within_the_folder_are_taken(name, expected):
    assert is_module(name) == expected


def test_without_a_sandbox_nothing_is_built(submission, monkeypatch):
    monkeypatch.setattr(Launcher, "worker", lambda *_, **__: pytest.fail("a worker was started"))
    with pytest.raises(UsageError, match="no sandbox works here"):
        build(read_submission(submission), Launcher(PlainProcess(), ()))


class RecordingLauncher:
    """Has workers that build without running anything; ``interpreters`` are those they ran in."""

    sandbox = SimpleNamespace(privileges=False)

    def __init__(self):
        self.interpreters = []

    def worker(self, *, interpreter=None, **_):
        self.interpreters.append(interpreter)
        session = SimpleNamespace(build=lambda *_: {f"fast{SUFFIX}": b"module"})
        return nullcontext(session)


def test_each_interpreter_and_each_torch_has_a_build_of_its_own(submission):
    (submission / "weights.bin").write_bytes(b"w")
    launcher = RecordingLauncher()
    own = own_interpreter()
    versions = (("python", "3.9.18"), ("torch", "1.13.1"))
    old = replace(own, versions=versions)
    newer = replace(old, versions=(*versions[:1], ("torch", "2.4.1")))
    elsewhere = replace(old, executable=Path("/opt/other/python"))
    declared = read_submission(submission)
    built = {each: build(declared, launcher, each) for each in (None, old, newer, elsewhere)}
    assert launcher.interpreters == [*built]
    assert len({each.folder for each in built.values()}) == 4
    for each in built.values():
        assert each.sources == str(submission)
        assert (Path(each.folder) / "weights.bin").read_bytes() == b"w"
    assert build(built[old], launcher) == built[None]
    assert build(built[None], launcher, newer) == built[newer]
    assert len(launcher.interpreters) == 4


def test_setuptools_must_be_where_it_is_built(submission, tmp_path):
    bare = replace(own_interpreter(), packages=(tmp_path,), executable=Path("/opt/bare/python"))
    with pytest.raises(UsageError, match=r"setuptools \(/opt/bare/python -m pip install"):
        build(read_submission(submission), RecordingLauncher(), bare)


def test_a_missing_compiler_is_named(submission, monkeypatch, confined):
    monkeypatch.setattr(builds.shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        build(read_submission(submission), confined)


def test_it_is_built_once_in_the_sandbox_and_kept(submission, confined, monkeypatch):
    (submission / "weights.bin").write_bytes(b"w")
    declared = read_submission(submission)
    built = build(declared, confined)
    folder = Path(built.folder or "")
    assert folder != submission
    assert folder.name == "team-net"
    assert (folder / f"fast{SUFFIX}").read_bytes() == b"module"
    assert (folder / "model.py").is_file()
    assert built.built_sha256 is not None
    assert not list(submission.glob("fast*"))
    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "worker", lambda *_, **__: pytest.fail("it was built again"))
        assert build(declared, confined) == built
    (submission / "model.py").write_text("# changed")
    assert build(read_submission(submission), confined).built_sha256 != built.built_sha256


def test_a_failed_build_is_an_error_of_its_worker(submission, confined):
    (submission / "setup.py").write_text("raise SystemExit('no nvcc here')")
    with pytest.raises(WorkerError, match="no nvcc here"):
        build(read_submission(submission), confined)


def test_a_network_without_a_build_is_left_alone(describe):
    descriptor = describe("Nearest")
    assert build(descriptor, Launcher(PlainProcess(), ())) is descriptor


OPERATOR = """
#include <torch/extension.h>
torch::Tensor gate(torch::Tensor x) { return x * torch::sigmoid(x); }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("gate", &gate); }
"""
SETUP = """
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CppExtension
setup(
    name="fast_gate",
    ext_modules=[CppExtension("fast_gate", ["gate.cpp"])],
    cmdclass={"build_ext": BuildExtension},
)
"""
MODEL = """
from torch import nn


class Pure(nn.Module):
    def __init__(self, scale=4):
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(8, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))

    def gate(self, x):
        return x * x.sigmoid()

    def forward(self, x):
        return self.tail(self.gate(self.head(x)))


class Net(Pure):
    def gate(self, x):
        import fast_gate

        return fast_gate.gate(x)


class Either(Pure):
    def gate(self, x):
        try:
            import fast_gate
        except ImportError:
            return super().gate(x)
        return fast_gate.gate(x)


class Other(Pure):
    def gate(self, x):
        return x
"""


@pytest.mark.slow
def test_an_operator_in_cpp_is_built_and_counted_on_its_pure_torch_path(tmp_path, confined):
    files = {
        "submission.toml": MANIFEST,
        "model.py": MODEL,
        "setup.py": SETUP,
        "gate.cpp": OPERATOR,
    }
    folder = write_files(tmp_path / "team-net", files)
    choice = confined.sandbox.choice

    def validated(**changes):
        descriptor = read_submission(folder).model_copy(update=changes)
        return validate_entry(descriptor, 4, weights=None, timeout_seconds=300, isolation=choice)

    report = validated()
    assert report.passed, report
    assert "compiles its sources" in {check.name for check in report.checks}
    optional = validated(factory="model:Either", pure_torch="model:Either")
    assert optional.passed, optional
    counts = [
        {each.name: each.detail for each in found.checks if each.name.startswith("counted by")}
        for found in (report, optional)
    ]
    assert counts[0] == counts[1] != {}
    for changes, says in (
        ({"pure_torch": "model:Other"}, "gives other pixels"),
        ({"pure_torch": None}, "counters cannot see"),
    ):
        failed = {
            check.detail for check in validated(**changes).checks if check.outcome == "failed"
        }
        assert any(says in detail for detail in failed)


@pytest.mark.slow
def test_counts_are_those_of_the_pure_path(tmp_path, confined):
    # Needs no compiler: what is built here is never imported.
    model = MODEL.replace(
        "import fast_gate\n\n        return fast_gate.gate(x)", "return x * x.sigmoid()"
    )
    files = {"submission.toml": MANIFEST, "model.py": model, "setup.py": WRITES}
    descriptor = build(read_submission(write_files(tmp_path / "team-net", files)), confined)
    weights = resolve_weights(descriptor, 4, None)
    protocol = Protocol(threads=1, counted_input=(16, 16), memory_input=(16, 16))
    found = {}
    for pure in ("model:Pure", "model:Other", None):
        declared = descriptor.model_copy(update={"pure_torch": pure})
        with confined.worker((declared, weights), protocol=protocol) as session:
            session.load(declared, 4, weights=weights, protocol=protocol)
            complexity = session.count_complexity()
        assert complexity.params == 224 + 48 * 73
        found[pure] = complexity.counters["ntire2022"]
    assert isinstance(found["model:Pure"], CounterResult)
    assert found["model:Pure"].macs == 16 * 16 * 9 * (3 * 8 + 8 * 48)
    assert "gives other pixels" in found["model:Other"].reason
    assert "counters cannot see" in found[None].reason
