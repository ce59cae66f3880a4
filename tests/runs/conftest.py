"""What whole runs of tiny networks share."""

import pytest
from builders import LENIENT, TWO_ROUNDS, descriptor, write_files
from disks import Hasty
from fake_worker import Workers, use_fake_workers

from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.protocol import Protocol
from esrbench.runs.evaluator import Entry
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.worker.launcher import Launcher, open_launcher


@pytest.fixture(scope="session")
def quick():
    """One warm-up and two rounds at small inputs."""
    return Protocol(
        threads=1,
        counted_input=(16, 16),
        memory_input=(16, 16),
        counters=("ntire2022", "aten"),
        latency=TWO_ROUNDS,
        trust=LENIENT,
    )


@pytest.fixture(scope="session")
def make_suite(shared_pair_folder, quick):
    """A suite of descriptors on two small pairs."""

    def build(*descriptors, protocol=quick, **fields):
        pairs = open_dataset(str(shared_pair_folder), 4)
        entries = tuple(
            Entry(descriptor, 4, resolve_weights(descriptor, 4)) for descriptor in descriptors
        )
        data = ((pairs, pairs.identity()),)
        return Suite(entries, data, protocol, open_launcher(), **fields)

    return build


@pytest.fixture
def sources(tmp_path):
    """A file of its own for each of three entries."""
    names = ("one", "two", "three")
    write_files(tmp_path, dict.fromkeys((f"code/{name}.py" for name in names), "class Net: ...\n"))
    return {name: tmp_path / f"code/{name}.py" for name in names}


@pytest.fixture
def trio(make_suite, quick, sources):
    """A suite of three entries, in two rounds."""

    def build(processes=2, **fields):
        latency = quick.latency.model_copy(update={"processes": processes})
        trust = quick.trust.model_copy(update={"repeated_rounds": 0})
        protocol = quick.model_copy(update={"latency": latency, "trust": trust})
        descriptors = [descriptor(name, factory=f"{file}:Net") for name, file in sources.items()]
        return make_suite(*descriptors, protocol=protocol, **fields)

    return build


@pytest.fixture
def store(tmp_path):
    """Of a test that ends before its machine does: nothing is flushed to the disk."""
    return Store(tmp_path / "results", files=Hasty())


@pytest.fixture
def workers(monkeypatch):
    """Workers that answer at once instead of all others; tells what was started."""
    monkeypatch.setattr(Launcher, "worker", Launcher.worker)  # put back afterwards
    for wait in ("SETTLING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"esrbench.runs.timing.{wait}", 0.0)
    workers = Workers()
    use_fake_workers(workers)
    return workers
