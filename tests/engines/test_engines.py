"""Real engines: processes of this machine, and small clusters of Slurm and Ray."""

import importlib
import os
import platform
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_ray
import small_slurm
from builders import run

from esrbench.engines.local import LocalEngine
from esrbench.engines.opening import open_engine, parse_settings
from esrbench.engines.settings import EngineSettings
from esrbench.errors import MeasurementError, UsageError
from esrbench.processes import family
from esrbench.runs.cells import Cell, CellState, last_words
from esrbench.runs.store import Store

NAMES = ("bicubic", "srcnn")
OPTIONS = (
    *("--threads", "1", "--input-size", "16x16", "--rounds", "2", "--min-rounds", "2"),
    *("--warmup", "1", "--processes", "2", "--isolation", "subprocess", "--resume"),
)


def command(pairs, results, engine, *options):
    esrbench = Path(sys.executable).with_name("esrbench")
    folders = ("--data", str(pairs), "--results", str(results), "--engine", engine)
    return [str(esrbench), "run", *NAMES, *OPTIONS, *folders, *options]


def wait_for(condition, process, seconds=200):
    latest = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None
        assert time.monotonic() < latest
        time.sleep(0.05)
    return found


@contextmanager
def begun(line, **given):
    """A submitter, which ends with the test however that ends."""
    with subprocess.Popen(line, **given, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def all_is_there(results, rounds=2):
    records, notices = Store(results).load()
    assert notices == []
    assert sorted(record.entry.name for record in records) == sorted(NAMES)
    for record in records:
        # Load may also make a worker's account of its time differ from the evaluator's.
        assert record.status in {"ok", "busy-machine", "timing-disputed"}, record.cause
        assert [each.index for each in record.latency.replicates] == [*range(rounds)]
    assert Store(results).suites() == []


def cells_of(process):
    """Processes that make cells for a submitter."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(each) for each in children]


@pytest.mark.slow
def test_cells_and_their_submitter_may_be_killed(pair_folder, tmp_path):
    results = tmp_path / "results"
    line = command(pair_folder, results, "local")
    with begun(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        (cell,) = wait_for(lambda: cells_of(process), process)
        os.kill(cell, signal.SIGKILL)
        wait_for(lambda: set(cells_of(process)) - {cell}, process)
        wait_for(lambda: list(results.glob("passes/*/*.untimed.json")), process)
        process.kill()
        said = process.stderr.read()
    assert "untimed-0000 ended on cpu and lacks 2 passes (try 1 of 3): killed by signal 9" in said
    run(*line, code=None)
    all_is_there(results)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Variables under which a small cluster takes jobs."""
    if why := small_slurm.obstacle():
        pytest.skip(why)
    with ExitStack() as running:
        try:
            cluster = small_slurm.small_slurm(tmp_path_factory.mktemp("slurm"))
            variables, _ = running.enter_context(cluster)
        except TimeoutError as error:
            pytest.skip(str(error))
        yield variables


@pytest.mark.slow
def test_jobs_of_slurm_make_a_suite_and_outlive_their_submitter(slurm, pair_folder, tmp_path):
    results = tmp_path / "results"
    options = ("--engine-option", "jobs=2", "--engine-option", "constraint=small")
    line = command(pair_folder, results, "slurm", *options)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with begun(line, env=slurm, **quiet) as process:
        wait_for(lambda: list(results.glob("slurm/*/*.err")), process)
    run(*line, code=None, **slurm)
    all_is_there(results)
    messages = [path.read_text() for path in results.glob("slurm/*/*_log.*")]
    assert any("loading to be timed" in text for text in messages)
    other = tmp_path / "other"
    refused = command(pair_folder, other, "slurm", "--engine-option", "partition=none")
    done = run(*refused, code=2, **slurm)
    assert re.search(r"Slurm refused the jobs: .*partition", done.stderr)


def making(nodes):
    """A node of Ray that makes a cell, or None."""
    for node in nodes:
        for pid in family(node.process.pid):
            with suppress(OSError):
                if b"\0cell\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return node
    return None


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory):
    """Variables under which a small cluster is found, and its nodes."""
    if why := small_ray.obstacle():
        pytest.skip(why)
    with ExitStack() as running:
        # Tasks get the variables of their nodes: others may measure on this machine meanwhile.
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
        try:
            yield running.enter_context(small_ray.small_ray())
        except TimeoutError as error:
            pytest.skip(str(error))


@pytest.mark.slow
def test_tasks_of_ray_make_a_suite_and_outlive_a_node(ray_cluster, pair_folder, tmp_path):
    variables, nodes = ray_cluster
    results = tmp_path / "results"
    line = command(pair_folder, results, "ray", "--engine-option", "jobs=2", "--processes", "1")
    with begun(line, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: making(nodes), process).kill()
        output, said = process.communicate(timeout=200)
    assert "(try 1 of 3): Task failed because the node it was running on is dead" in said
    all_is_there(results, rounds=1)
    # What Ray says of its nodes is no result.
    assert "raylet" not in output


WITH_LITTLE_PATIENCE = """
import sys
import esrbench.engines.ray
from esrbench.cli.app import main
esrbench.engines.ray.NODE_SECONDS = 3.0
sys.exit(main())
"""


@pytest.mark.slow
def test_cells_wait_for_a_late_node_of_ray_but_not_for_ever(ray_cluster, pair_folder, tmp_path):
    variables, nodes = ray_cluster
    results = tmp_path / "results"
    line = command(pair_folder, results, "ray", "--engine-option", "constraint=late")
    lacks = "no living node of the Ray cluster has 1 CPU, late"
    done = run(sys.executable, "-c", WITH_LITTLE_PATIENCE, *line[1:], code=4, **variables)
    assert f"error: --engine ray: {lacks}, and none came in 0.05 minutes" in done.stderr
    assert not list(results.glob("runs/*.json"))
    with begun(line, env=variables, stderr=subprocess.PIPE) as process, ExitStack() as running:
        said = next(text for text in process.stderr if "cells-wait" in text)
        assert f"warning (cells-wait): {lacks}" in said
        running.callback(nodes[0].again('--resources={"late": 1}').kill)
        wait_for(lambda: list(results.glob("passes/*/*.untimed.json")), process)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("address=127.0.0.1:9", "there is no cluster at 127.0.0.1:9: .*refused"),
        ("address=nowhere", "there is no cluster at nowhere"),
        ("memory=much", r"engine\.memory: expected an amount such as 32G, found much"),
    ],
)
def test_what_ray_cannot_use_is_refused(option, says):
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=says):
        open_engine(parse_settings("ray", [option]), "cpu")


@pytest.mark.slow
def test_ray_is_asked_for_a_device_and_for_what_the_challenge_says():
    module = pytest.importorskip("esrbench.engines.ray")
    nothing = {"memory": None, "resources": {}}
    device = {"num_cpus": 1, "num_gpus": 1}
    assert module._options(EngineSettings(name="ray"), "cuda") == device | nothing
    settings = parse_settings("ray", ["cpus=4", "memory=2G", "constraint=accelerator_type:H100"])
    assert module._options(settings, "cpu") == {
        "num_cpus": 4,
        "num_gpus": 0,
        "memory": 2 * 2**30,
        "resources": {"accelerator_type:H100": 0.001},
    }


def test_engine_options_are_checked():
    settings = parse_settings("slurm", ["jobs=3", "gres=gpu:1", "exclusive=true"])
    assert LocalEngine(EngineSettings(device_class="GPU"), "cpu").device_class == "GPU"
    assert (settings.jobs, settings.gres, settings.exclusive) == (3, "gpu:1", True)
    with pytest.raises(UsageError, match="--engine slurm: partitin: no such field"):
        parse_settings("slurm", ["partitin=gpu"])
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        parse_settings("local", ["jobs"])
    with pytest.raises(UsageError, match=r"engine\.gres: Ray has no such setting"):
        open_engine(parse_settings("ray", ["gres=gpu:1"]), "cuda")


def test_jobs_of_slurm_are_known_alone_and_in_arrays(monkeypatch):
    module = pytest.importorskip("esrbench.engines.slurm")
    said = "51_N/A|PENDING||Priority\n52_N/A|RUNNING|n1|None\n7_0|RUNNING|n2|None\n"
    said += "7_1|COMPLETED|n2|None\n"
    monkeypatch.setattr(module, "_slurm", lambda *_: said)
    engine = module.SlurmEngine(EngineSettings(name="slurm"))
    for number in ("51", "52", "7_0", "7_1", "8_0"):
        engine._jobs[number] = SimpleNamespace(job_id=number, stderr=lambda: "error: no disk")
        engine._states[number] = CellState("waiting")
    assert engine.poll() == {
        "51": CellState("waiting"),
        "52": CellState("running", "n1"),
        "7_0": CellState("running", "n2"),
        "7_1": CellState("ended", "n2", "no disk"),
        "8_0": CellState("ended", "", "no disk"),
    }


class FakeRay(SimpleNamespace):
    """Of the package what the engine uses: tasks begin nowhere, and are remembered."""

    def __init__(self):
        super().__init__(living=[], begun=[], cancelled=[])

    def init(self, *_, **__):
        """There is a cluster."""

    def nodes(self):
        return [
            {"NodeID": name, "Alive": True, "Resources": {"CPU": 2.0, "memory": 2.0**33}}
            for name in self.living
        ]

    def remote(self, _):
        return SimpleNamespace(
            options=lambda **asked: SimpleNamespace(
                remote=lambda command, _: self.begun.append((command[-1], asked)) or len(self.begun)
            )
        )

    def wait(self, told, **_):
        return [], told

    def cancel(self, told):
        self.cancelled.append(told)


@pytest.fixture
def fake_ray(monkeypatch):
    """A Ray without a node, and the engine that uses it."""
    fake, name = FakeRay(), "esrbench.engines.ray"
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setitem(sys.modules, name, None)  # so that it is afterwards as it was
    del sys.modules[name]
    return fake, importlib.import_module(name)


def test_a_cell_that_no_living_node_of_ray_fits_says_so_and_waits_ten_minutes(
    fake_ray, tmp_path, monkeypatch
):
    fake, module = fake_ray
    settings = parse_settings("ray", ["cpus=2", "memory=8G", "address=auto", "jobs=1"])
    engine = module.RayEngine(settings, "cpu")
    engine.submit(tmp_path, [Cell(id=f"untimed-{n}", entries=("a",)) for n in range(2)])
    lacks = "no living node of the Ray cluster has 2 CPUs, 8G of memory"
    waiting = dict.fromkeys(["untimed-0", "untimed-1"], CellState("waiting", said=lacks))
    now = time.monotonic()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    assert engine.poll() == waiting
    # Ray is asked all the same: some clusters start nodes for what waits.
    assert [key for key, _ in fake.begun] == ["untimed-0"]
    now += 599
    assert engine.poll() == waiting
    fake.living = ["n1"]
    assert set(engine.poll().values()) == {CellState("waiting")}
    now += 3600
    assert set(engine.poll().values()) == {CellState("waiting")}  # the node has other work
    fake.living = []
    now += 601
    with pytest.raises(MeasurementError, match=f"{lacks}, and none came in 10 minutes"):
        engine.poll()


def test_where_only_nodes_of_ray_are_left_that_failed_they_try_again(fake_ray, tmp_path):
    fake, module = fake_ray
    engine = module.RayEngine(parse_settings("ray", ["address=auto"]), "cpu")
    fake.living = ["n1", "n2"]
    engine.submit(tmp_path, [Cell(id="untimed-0", entries=("a",))])
    engine._failures.update(["n1", "n1"])
    engine.poll()
    ((_, asked),) = fake.begun
    assert asked["label_selector"] == {"ray.io/node-id": "!in(n1)"}
    fake.living = ["n1"]
    engine.poll()
    assert fake.cancelled == [1]
    assert ("label_selector" in fake.begun[1][1], len(fake.begun)) == (False, 2)


def test_a_task_of_ray_ends_a_cell_on_a_node_that_is_too_slow(fake_ray, monkeypatch):
    fake, module = fake_ray
    fake.get_runtime_context = lambda: SimpleNamespace(get_node_id=lambda: "n1")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    says = "import os, time; assert 'OMP_NUM_THREADS' not in os.environ, 'threads'; time.sleep(60)"
    begun, ended = module.make_cell([sys.executable, "-S", "-c", says], 0.6)
    assert begun == ("n1", platform.node())
    assert ended == ("n1", "not at its end after 0.01 minutes")


def test_a_cell_goes_from_a_gpu_that_fails_to_another_one(tmp_path, monkeypatch):
    fails = "import os, sys; sys.exit('error: no memory' if os.environ[sys.argv[1]] == '3' else 0)"
    monkeypatch.setattr(
        "esrbench.engines.local.cell_command",
        lambda _: [sys.executable, "-c", fails, "CUDA_VISIBLE_DEVICES"],
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    engine = LocalEngine(EngineSettings(), "cuda", (3, 5))
    assert engine.width == 2
    cells = [Cell(id=f"untimed-{n}", entries=("a",)) for n in range(2)]
    engine.submit(tmp_path, cells)
    first = ended(engine, "untimed-0")
    assert (first.where, first.said) == ("cuda:3", "no memory")
    assert ended(engine, "untimed-1").where == "cuda:5"  # which is free from now on
    engine.submit(tmp_path, cells[:1])
    again = ended(engine, "untimed-0")
    assert (again.where, again.said) == ("cuda:5", "")


def ended(engine, key):
    latest = time.monotonic() + 60
    while (state := engine.poll()[key]).state != "ended":
        assert time.monotonic() < latest
        time.sleep(0.01)
    return state


def test_a_cell_that_takes_too_long_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "esrbench.engines.local.cell_command",
        lambda _: [sys.executable, "-c", "import time; time.sleep(600)"],
    )
    engine = LocalEngine(EngineSettings(minutes=1), "cpu")
    engine.submit(tmp_path, [Cell(id="timed-0", entries=("a",), replicate=0)])
    assert engine.poll()["timed-0"].state == "running"
    later = time.monotonic() + 61
    monkeypatch.setattr("esrbench.engines.local.time.monotonic", lambda: later)
    assert engine.poll()["timed-0"].said == "not at its end after 1 minutes"
    engine.submit(tmp_path, [Cell(id="timed-1", entries=("a",), replicate=1)])
    engine.poll()
    engine.cancel(["timed-1"])
    assert engine.poll()["timed-1"].state == "ended"


def test_the_last_words_of_a_cell_are_its_error():
    assert last_words("one: loading\nerror: no such sandbox\nUse another.\n") == "no such sandbox"
    assert last_words("one: loading\n") == "one: loading"
    assert last_words("") == ""
