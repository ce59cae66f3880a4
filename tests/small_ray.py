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


def obstacle():
    """Why there can be none here, or None."""
    return None if find_spec("ray") else "Ray is not installed (pip install 'esrbench[ray]')"


class Node:
    """A node, with all processes that descend from it.

    Args:
        options: of ``ray start``.
    """

    def __init__(self, *options):
        self.options = options
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *options]
        variables = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
        variables.pop("RAY_ADDRESS", None)
        self.process = subprocess.Popen(command, env=variables, **quiet)

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

    def again(self):
        """A node like this one."""
        return Node(*self.options)


@contextmanager
def small_ray():
    """Start it; the variables under which it is found, and its nodes.

    Raises:
        TimeoutError: it does not come up on this machine.
    """
    port = free_port()
    address = f"127.0.0.1:{port}"
    store = "--object-store-memory=80000000"
    with ExitStack() as running:
        # Names of sockets have 107 characters at most.
        folder = tempfile.TemporaryDirectory("", "ray-", "/tmp", ignore_cleanup_errors=True)
        where = f"--temp-dir={running.enter_context(folder)}"
        head = Node(
            "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", store, where
        )
        running.callback(head.kill)
        wait_for(lambda: answers(port), "Ray")
        nodes = [Node(f"--address={address}", store, "--num-cpus=1") for _ in range(2)]
        running.callback(lambda: [node.kill() for node in nodes])  # those of then
        yield {**os.environ, "RAY_ADDRESS": address}, nodes


def answers(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0
