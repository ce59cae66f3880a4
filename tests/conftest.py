"""Fixtures shared by all tests."""

import importlib.util
import os
import platform
import signal
import sys
from dataclasses import replace
from pathlib import Path

import builders
import cv2
import numpy as np
import pytest
from lasting_workers import LastingWorkers

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.environment import package_version
from esrbench.reports.leaderboard import leaderboard_table
from esrbench.sandbox.interpreters import entry_interpreter, own_interpreter

ROOT = Path(__file__).resolve().parent.parent
_all_cpus = set()


def pytest_configure():
    """Give each test process a CPU of its own: two that share all wait for the other's threads.

    Shells start what goes on in the background deaf to Ctrl-C, and it would hand that on.
    """
    # tox sets it for what it starts, and tables obey it.
    os.environ.pop("COLUMNS", None)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    name = os.environ.get("PYTEST_XDIST_WORKER", "")
    if name and hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        _all_cpus.update(cpus)
        os.sched_setaffinity(0, {cpus[int(name.removeprefix("gw")) % len(cpus)]})


@pytest.fixture(scope="session")
def load_benchmark():
    """Imports a script of ``benchmarks/`` by its name, without its command line."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def all_cpus():
    """Every CPU, for a test that needs more than its process was given."""
    if not _all_cpus:
        yield
        return
    given = os.sched_getaffinity(0)
    os.sched_setaffinity(0, _all_cpus)
    yield
    os.sched_setaffinity(0, given)


def pytest_collection_modifyitems(items):
    """Start with the README's commands, or one process would end with minutes of them alone."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


@pytest.fixture(scope="session")
def another_python():
    """An interpreter as an entry has it: that of ``ESRBENCH_WORKER_PYTHON``, else this one.

    This one then runs as another does: without packages until it is confined, and with weights
    that are sent.
    """
    chosen = os.environ.get("ESRBENCH_WORKER_PYTHON")
    if chosen:
        return entry_interpreter(Path(chosen))
    versions = {name: package_version(name) for name in ("torch", "numpy")}
    versions = {"python": platform.python_version(), **versions}
    return replace(own_interpreter(), versions=tuple(versions.items()))


@pytest.fixture(scope="session")
def shared():
    """Reference data, weights and facts that are not part of the project.

    ``ESRBENCH_REFERENCE`` names the folder; by default it stands beside the checkout.
    """
    folder = Path(os.environ.get("ESRBENCH_REFERENCE", ROOT.parent / "shared"))
    if not (folder / "facts").is_dir():
        pytest.skip(f"no reference folder at {folder}: set ESRBENCH_REFERENCE to run this test")
    return folder


@pytest.fixture(autouse=True)
def _private_cache(tmp_path_factory, monkeypatch):
    """Keep tests away from the user's cache, mirror, submissions and locks of devices."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    submissions = tmp_path_factory.getbasetemp() / "submissions"
    submissions.mkdir(exist_ok=True)
    monkeypatch.setenv("ESRBENCH_SUBMISSIONS", str(submissions))
    monkeypatch.delenv("ESRBENCH_MIRROR", raising=False)


@pytest.fixture(scope="module")
def worker_pool(tmp_path_factory):
    """Real workers that serve one test of a module after the other."""
    pool = LastingWorkers([Path(__file__).parent, ROOT / "models", tmp_path_factory.getbasetemp()])
    yield pool
    pool.end()


@pytest.fixture
def lasting_workers(worker_pool):
    """Has the test use them, instead of new ones."""
    with worker_pool.in_use():
        yield


@pytest.fixture(scope="session")
def describe():
    """Descriptor of a network of ``misbehaving.py`` by class name."""

    def build(attribute, **fields):
        return ModelDescriptor(
            name=fields.pop("name", attribute.lower()),
            summary="test network",
            scales=fields.pop("scales", (2, 4)),
            factory=f"{Path(__file__).with_name('misbehaving.py')}:{attribute}",
            **fields,
        )

    return build


def write_pairs(folder):
    """Two smooth HR/LR pairs at x4: LR 16x16 and 16x24."""
    for index, (height, width) in enumerate(((64, 64), (64, 96))):
        rows, columns = np.mgrid[0:height, 0:width]
        channels = [rows * 3 + columns, rows + 2 * columns, 255 - rows - columns]
        hr = np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)
        lr = hr[::4, ::4]
        for name, image in (("HR/image{}.png", hr), ("LR_bicubic/X4/image{}x4.png", lr)):
            path = folder / name.format(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image[:, :, ::-1])
    return folder


@pytest.fixture
def pair_folder(tmp_path):
    """Folder of two pairs that the test may spoil."""
    return write_pairs(tmp_path / "pairs")


@pytest.fixture(scope="session")
def shared_pair_folder(tmp_path_factory):
    """The same for all tests, to be read only."""
    return write_pairs(tmp_path_factory.mktemp("shared") / "pairs")


@pytest.fixture(scope="session")
def make_record():
    """A run record with chosen values; everything else is plausible and constant."""
    return builders.record


@pytest.fixture(scope="session")
def columns():
    """The columns of a leaderboard as plain text, by heading."""

    def by_heading(board):
        table = leaderboard_table(board)
        rows = [row for section in table.sections for row in section.rows]
        texts = ([str(row[index]) for row in rows] for index in range(len(table.headings)))
        return dict(zip([heading.text for heading in table.headings], texts, strict=True))

    return by_heading
