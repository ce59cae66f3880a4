"""A cluster of Ray on this machine: a head that makes nothing, and two nodes of one CPU."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec

from small_slurm import free_port, wait_for

from esrbench.processes import family

START_SECONDS = 120
STORE = "--object-store-memory=80000000"
# Nodes join when they have connected to the head, some time after their processes began.
WAIT_FOR_NODES = """
import logging, sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.ERROR)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(0.2)
"""


def obstacle():
    """Why there can be none here, or None."""
    return None if find_spec("ray") else "Ray is not installed (pip install 'esrbench[ray]')"


class Node:
    """A node, with all processes that descend from it.

    Args:
        folder: of the cluster's files.
        options: of ``ray start``.
    """

    def __init__(self, folder, *options):
        self.given = (folder, *options)
        # Nodes that begin at the same time in one folder may give their sockets the same names.
        own = f"--temp-dir={tempfile.mkdtemp(dir=folder)}"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", own]
        variables = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        variables.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen([*command, *options], env=variables, **quiet)

    def poll(self):
        return self.process.poll()

    def kill(self):
        """Kill all at once, as a power loss does: the cells that it makes too."""
        pids = family(self.process.pid)
        for act in (signal.SIGSTOP, signal.SIGKILL):  # none begins another one meanwhile
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, act)
            pids = sorted({*pids, *family(self.process.pid)})
        self.process.wait()

    def again(self, *more):
        """A node like this one, with more options."""
        return Node(*self.given, *more)


@contextmanager
def small_ray():
    """Start it; the variables under which it is found, and its nodes.

    Raises:
        TimeoutError: it does not come up on this machine.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    with ExitStack() as running:
        # Names of sockets have 107 characters at most.
        folder = tempfile.TemporaryDirectory("", "ray-", "/tmp", ignore_cleanup_errors=True)
        where = running.enter_context(folder)
        alone = ("--num-cpus=0", "--include-dashboard=false")
        head = Node(where, "--head", f"--port={port}", *alone, STORE)
        running.callback(head.kill)
        wait_for(lambda: answers(port), "Ray")
        nodes = [Node(where, f"--address={address}", STORE, "--num-cpus=1") for _ in range(2)]
        running.callback(lambda: [node.kill() for node in nodes])  # those of then
        wait_for_nodes(address, 1 + len(nodes))
        yield {**os.environ, "RAY_ADDRESS": address}, nodes


def wait_for_nodes(address, count):
    """Return once so many nodes are alive, the head among them."""
    command = [sys.executable, "-c", WAIT_FOR_NODES, address, str(count)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=START_SECONDS, check=False)
        up = done.returncode == 0
    except subprocess.TimeoutExpired:
        up = False
    if not up:
        raise TimeoutError("Ray is installed and its nodes do not start here")


def answers(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
