"""Run a suite of many tiny entries, and end it in a loop until all are done.

``killed_suite.py PAIRS RESULTS SEED MOST [SIGNAL...]`` ends it at most so many times, since a slow
machine would never see its end, and prints a JSON object: how each process ended, and
a log of what was begun and what was safe. Without signals it is killed; with signals the suite is
the command's.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from builders import TWO_PROCESSES, descriptor
from fake_worker import use_fake_workers

from esrbench.cli import app
from esrbench.data.datasets import open_dataset
from esrbench.entries.networks import resolve_weights
from esrbench.runs.evaluator import Entry
from esrbench.runs.fingerprint import harness_sha256
from esrbench.runs.plan import Suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.launcher import open_launcher

ENTRIES = 12
LOG = Path(sys.argv[2]).with_suffix(".log")
KILLED_WITHIN = (0.0, 1.2)
SIGNALLED_WITHIN = (0.2, 2.5)
"""Seconds. The command takes some to know what to do with a signal."""
NAMES = ("bicubic", "rfdn", "imdn", "aidn")
FINISHED = (0, 4)
"""Exit codes of a suite that came to its end."""
NETWORKS = Path(__file__).parents[1] / "misbehaving.py"


class LoggingStore(Store):
    """Tells what is safe, once it is."""

    def put(self, record):
        path = super().put(record)
        if "sha256" in path.read_text() and record.status == "ok":
            say("record", path.stem)
        return path

    def put_pass(self, suite, name, document):
        first = super().put_pass(suite, name, document)
        say("part" if first else "late", name)
        return first


def say(*words):
    """One line of a log that outlives its writer."""
    line = " ".join(words) + "\n"
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def plan():
    """Twelve names of one network, one of them the baseline, in two rounds."""
    pairs = open_dataset(sys.argv[1], 4)
    entries = []
    for number in range(ENTRIES):
        network = descriptor(f"net{number:02}", factory=f"{NETWORKS}:Nearest")
        entries.append(Entry(network, 4, resolve_weights(network, 4)))
    data = ((pairs, pairs.identity()),)
    return Suite(tuple(entries), data, TWO_PROCESSES, open_launcher("subprocess"), baseline="net05")


def run(suite):
    """The suite itself."""
    for _ in run_suite(suite, LoggingStore(Path(sys.argv[2])), resume=True):
        pass


def command():
    """``esrbench run`` of a few networks, which ends by ``sys.exit``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)
    options = (
        "--effort standard --rounds 2 --min-rounds 2 --warmup 1 --processes 2 --input-size 16x16 "
        "--threads 1"
    )
    folders = ["--data", sys.argv[1], "--results", sys.argv[2]]
    isolation = ["--isolation", "subprocess", "--resume"]
    sys.argv = ["esrbench", "run", *NAMES, *options.split(), *folders, *isolation]
    app.main()


def main():
    """Fork a suite and end it, until one comes to its end by itself."""
    signals = [signal.Signals[name] for name in sys.argv[5:]]
    suite = plan()
    harness_sha256()  # kept by every fork, whoever edits the sources meanwhile
    use_fake_workers(lambda name: say("start", name))
    most = int(sys.argv[4])
    chance = random.Random(int(sys.argv[3]))  # noqa: S311 - times, not secrets
    ends = []
    while not ends or ends[-1][0] or ends[-1][1] not in FINISHED:
        sent = signals[len(ends) % len(signals)] if signals else signal.SIGKILL
        child = os.fork()
        if not child:
            if signals:
                command()
            run(suite)
            os._exit(0)
        if len(ends) < most:
            time.sleep(chance.uniform(*(SIGNALLED_WITHIN if signals else KILLED_WITHIN)))
            os.kill(child, sent)
        _, status = os.waitpid(child, 0)
        ended = (0, os.WEXITSTATUS(status)) if os.WIFEXITED(status) else (os.WTERMSIG(status), 0)
        ends.append(ended)
        if ended not in {(0, code) for code in FINISHED} | {(int(sent), 0), (0, 128 + sent)}:
            break
    json.dump({"ends": ends, "log": LOG.read_text().splitlines()}, sys.stdout)


main()
