"""A cluster of Slurm on this machine: one controller and two nodes, as root, without systemd."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "sinfo")
CONF = """\
ClusterName=small
SlurmctldHost={host}
SlurmUser=root
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/spool-%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1 Feature=small State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1 Feature=small State=UNKNOWN
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE
"""


def obstacle():
    """Why there can be none here, or None."""
    if os.geteuid():
        return "Slurm's daemons are started as root"
    missing = [name for name in NEEDED if not shutil.which(name)]
    return f"{missing[0]} is not installed (apt-get install slurm-wlm munge)" if missing else None


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Node(subprocess.Popen):
    """The daemon of a node."""

    def again(self):
        """A daemon like this one."""
        return start(self.args, os.environ)


def start(command, variables):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return Node(command, env=variables, **quiet)


@contextmanager
def small_slurm(folder):
    """Start it; the variables under which its commands work, and the processes of its nodes.

    Raises:
        TimeoutError: its daemons do not come up on this machine.
    """
    ports = dict(zip(("port", "first", "second"), (free_port() for _ in range(3)), strict=True))
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=socket.gethostname(), **ports))
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    variables = {**os.environ, "SLURM_CONF": str(conf)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": variables}
    munge = [
        *("munged", "--foreground", "--force", f"--key-file={key}"),
        *(f"--socket={folder}/munge.socket", f"--pid-file={folder}/munge.pid"),
        *(f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"),
    ]
    started = [subprocess.Popen(munge, **quiet)]
    try:
        wait_for((folder / "munge.socket").exists)
        started.append(subprocess.Popen(["slurmctld", "-D"], **quiet))
        nodes = [start(["slurmd", "-D", "-N", name], variables) for name in ("n1", "n2")]
        started += nodes
        wait_for(lambda: idle(variables) == 2)
        yield variables, nodes
    finally:
        # Jobs outlive their nodes' daemons.
        subprocess.run(["scancel", "--me"], check=False, timeout=20, **quiet)
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def idle(variables):
    """How many nodes wait for jobs."""
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return len(done.stdout.split())


def wait_for(condition, what="Slurm", seconds=60):
    latest = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > latest:
            raise TimeoutError(f"{what} is installed and does not start here")
        time.sleep(0.2)
