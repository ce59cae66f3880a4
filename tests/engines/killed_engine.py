"""Have an engine make a suite, and kill what takes part in it until it is done.

``killed_engine.py PAIRS FOLDER SEED ENGINE KIND=KILLS...`` kills workers, cells (their evaluators),
submitters and nodes of a small cluster at random instants, so many of each. Where a
submitter is gone, the suite is begun again. Suites follow one another, each in a folder of its own,
until all is killed; their number is told. Exit code 75: the cluster does not start here.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from builders import TWO_PROCESSES, descriptor
from fake_worker import FakeWorker, use_fake_workers
from small_ray import small_ray
from small_slurm import small_slurm

from esrbench.data.datasets import open_dataset
from esrbench.engines.opening import parse_settings
from esrbench.entries.networks import resolve_weights
from esrbench.errors import EsrbenchError
from esrbench.runs.evaluator import Entry
from esrbench.runs.events import SuiteEvents
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_cell, run_suite
from esrbench.worker.failure import WorkerError, exit_reason
from esrbench.worker.launcher import open_launcher

ENTRIES = 6
KILLED_WITHIN = (0.0, 1.0)
"""Seconds between two kills."""
WORKER = "import sys; sys.stdin.read()"
NETWORKS = Path(__file__).parents[1] / "misbehaving.py"
ROLES = ("submitter", "cell")
NODE_RETURNS = 0.5
"""Probability that the daemon of a node is started again before the next kill."""


class KillableWorker(FakeWorker):
    """Answers at once as long as a process lives that does nothing else."""

    results = ""

    def __enter__(self):
        command = [sys.executable, "-S", "-E", "-c", WORKER, self.results]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def _ask(self, what):
        time.sleep(0.002)
        if (code := self.process.poll()) is not None:
            raise WorkerError("crash", exit_reason(code, what), fatal=True)

    def load(self, *given, **named):
        time.sleep(0.1)
        self._ask("load")
        return super().load(*given, **named)

    def upscale(self, lr, name):
        self._ask("upscale")
        return super().upscale(lr, name)


class LoggingStore(Store):
    """Tells what is safe, once it is."""

    def put_pass(self, suite, name, document):
        first = super().put_pass(suite, name, document)
        descriptor = os.open(
            self.folder.with_suffix(".log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT
        )
        os.write(descriptor, f"{'first' if first else 'late'} {name}\n".encode())
        os.close(descriptor)
        return first


def command(role, *arguments):
    """How this script makes a part of a suite."""
    return [sys.executable, __file__, role, *map(str, arguments)]


def submit(pairs_folder, results, engine_name, *options):
    """Make the suite by an engine whose cells are processes of this script."""
    settings = parse_settings(engine_name, ("tries=100", "jobs=2", *options))
    if engine_name == "slurm":
        from esrbench.engines import slurm as module

        module.SlurmEngine.pause = 0.5
        module.LATE_SECONDS = 1.0
        engine = module.SlurmEngine(settings)
    elif engine_name == "ray":
        os.environ["RAY_DEDUP_LOGS_SKIP_REGEX"] = "^"
        from esrbench.engines import ray as module

        engine = module.RayEngine(settings, "cpu")
    else:
        from esrbench.engines import local as module

        # Two cells at a time, as on two devices.
        engine = module.LocalEngine(settings, "cpu", (0, 1))
    module.cell_command = lambda plan: command("cell", results, plan)
    pairs = open_dataset(pairs_folder, 4)
    entries = []
    for number in range(ENTRIES):
        network = descriptor(f"net{number}", factory=f"{NETWORKS}:Nearest")
        entries.append(Entry(network, 4, resolve_weights(network, 4)))
    data = ((pairs, pairs.identity()),)
    suite = Suite(tuple(entries), data, TWO_PROCESSES, open_launcher("subprocess"), baseline="net5")
    store = LoggingStore(Path(results))
    for _ in run_suite(
        suite, store, resume=True, engine=engine, events=SuiteEvents(on_notice=tell)
    ):
        pass


def tell(notice):
    """What a user would see."""
    sys.stderr.write(f"{notice.code}: {notice.message}\n")
    sys.stderr.flush()


def cell(results, plan, cell_id):
    """Make one cell, by workers that can be killed; it fails, or takes long, on some nodes."""
    node = os.environ.get("SLURMD_NODENAME", "")
    if node in os.environ.get("SLOW_NODES", "").split():
        time.sleep(1000)
    if node in os.environ.get("BAD_NODES", "").split():
        sys.exit("error: no space left on device")
    from esrbench.runs import suite, timing

    timing.SETTLING_SECONDS = timing.IDLE_SECONDS = 0.0
    suite.Store = LoggingStore
    KillableWorker.results = results
    use_fake_workers(kind=KillableWorker)
    try:
        run_cell(Path(plan), cell_id)
    except EsrbenchError as error:
        sys.exit(f"error: {error.message}")


def handles(kind, results):
    """Of processes of a suite, which name no other process however late they are used."""
    for entry in Path("/proc").iterdir():
        try:
            handle = os.pidfd_open(int(entry.name))
        except (ValueError, OSError):
            continue
        try:
            line = (entry / "cmdline").read_bytes().decode().split("\0")
        except (OSError, UnicodeDecodeError):
            line = []
        role = next((each for each in ROLES if each in line[1:3]), "worker")
        if line[:1] == [sys.executable] and str(results) in line and role == kind:
            yield handle
        else:
            os.close(handle)


def kill_one(kind, results, nodes, chance):
    """Kill one of a kind, if there is any; whether there was."""
    if kind == "node":
        chance.choice(nodes).kill()
        return True
    found = list(handles(kind, results))
    killed = False
    if found:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(chance.choice(found), signal.SIGKILL)
            killed = True
    for handle in found:
        os.close(handle)
    return killed


def make_suite(begin, results, left, nodes, chance):
    """Kill by a random order of kinds what there is left to kill, until the suite is done."""
    process = begin()
    while (code := process.poll()) != 0:
        if code not in {None, -signal.SIGKILL}:
            sys.exit(results.with_suffix(".err").read_text())
        if code:
            process = begin()
        time.sleep(chance.uniform(*KILLED_WITHIN))
        kinds = sorted(kind for kind, count in left.items() if count)
        if kinds:
            kind = chance.choice(kinds)
            left[kind] -= kill_one(kind, results, nodes, chance)
        for number, node in enumerate(nodes):
            if node.poll() is not None and chance.random() < NODE_RETURNS:
                nodes[number] = node.again()


def main(pairs, folder, seed, engine, *kills):
    """Suites until all is killed."""
    chance = random.Random(int(seed))  # noqa: S311 - times, not secrets
    left = Counter({kind: int(count) for kind, _, count in (each.partition("=") for each in kills)})
    with ExitStack() as running:
        nodes = []
        if engine != "local":
            cluster = small_ray() if engine == "ray" else small_slurm(Path(folder))
            try:
                variables, nodes = running.enter_context(cluster)
            except TimeoutError as error:
                sys.stderr.write(str(error))
                sys.exit(os.EX_TEMPFAIL)
            os.environ.update(variables)
            running.callback(lambda: [node.kill() for node in nodes])
        suites = 0
        while not suites or left.total():
            results = Path(folder) / str(suites)

            def begin(results=results):
                with results.with_suffix(".err").open("ab") as messages:
                    line = command("submitter", pairs, results, engine)
                    return subprocess.Popen(line, stderr=messages)

            make_suite(begin, results, left, nodes, chance)
            suites += 1
    sys.stdout.write(f"{suites}\n")


if __name__ == "__main__":
    {"submitter": submit, "cell": cell}.get(sys.argv[1], main)(
        *sys.argv[1 + (sys.argv[1] in ROLES) :]
    )
