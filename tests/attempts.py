"""What code of strangers tries in a sandbox; a copy of this file is all they see of the tests.

``esrbench.sandbox.start`` runs ``main`` with the name of an attempt and its arguments, and the
submission of ``adversarial/attacks/sandbox.py`` makes those of ``attacks.toml``.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def read(path):
    return Path(path).read_text(errors="replace")


def read_all(folder):
    return [read(path) for path in Path(folder).iterdir()]


def listing(path):
    return sorted(os.listdir(path))  # noqa: PTH208 - names are wanted


def size(path):
    return Path(path).stat().st_size


def write(path):
    with Path(path).open("ab"):
        pass


def make(folder):
    (Path(folder) / "made-by-a-worker").mkdir()


def make_and_remove(path):
    Path(path).touch()
    Path(path).unlink()


def change_mode(path):
    Path(path).chmod(0o777)


def change_mode_of_opened(path):
    with Path(path).open() as file:
        os.fchmod(file.fileno(), 0o777)


def cut(path):
    os.truncate(path, 0)


def remove(path):
    Path(path).unlink()


def link_out(target):
    Path("link").symlink_to(target)
    return Path("link").read_text(errors="replace")


def tcp(port):
    with socket.socket() as connection:
        connection.settimeout(5)
        connection.connect(("127.0.0.1", int(port)))


def udp(port):
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"secret", ("127.0.0.1", int(port)))


def abstract_socket(name):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + name)


def datagram_pair(name):
    """A socket that nobody need open: one half of a pair, sent elsewhere."""
    ours, _ = socket.socketpair(type=socket.SOCK_DGRAM)
    ours.sendto(b"secret", "\0" + name)


def stream_pair():
    ours, theirs = socket.socketpair()
    ours.sendall(b"hello")
    return theirs.recv(5).decode()


def fork():
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def execute():
    os.execv("/bin/true", ["true"])  # noqa: S606


def start_program():
    return subprocess.run(["/bin/true"], check=True).returncode


def thread():
    heard = []
    other = threading.Thread(target=heard.append, args=("there",))
    other.start()
    other.join()
    return heard[0]


def signal_evaluator(pid):
    os.kill(int(pid), signal.SIGCONT)


def signal_everyone():
    """Signal 0 harms nobody, and asks for the same permission."""
    os.kill(-1, 0)


def slow_evaluator(pid):
    os.sched_setaffinity(int(pid), os.sched_getaffinity(int(pid)))


def limit_evaluator(pid):
    resource.prlimit(int(pid), resource.RLIMIT_NOFILE)


def trace_evaluator(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    attach, detach = 16, 17
    if libc.ptrace(attach, int(pid), None, None):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    os.waitpid(int(pid), 0)
    libc.ptrace(detach, int(pid), None, None)


def seize_evaluator(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    seize, detach = 0x4206, 17
    if libc.ptrace(seize, int(pid), None, None):
        raise OSError(ctypes.get_errno(), "ptrace")
    libc.ptrace(detach, int(pid), None, None)


def own_signals(pid):
    """Have the kernel signal the evaluator when a pipe is ready."""
    read_end, _ = os.pipe()
    fcntl.fcntl(read_end, fcntl.F_SETOWN, int(pid))


def find_variable(setting):
    if setting not in [f"{key}={value}" for key, value in os.environ.items()]:
        raise PermissionError


def find_variable_of(pid, setting):
    if setting not in read(f"/proc/{pid}/environ"):
        raise PermissionError


def stack_of(pid):
    """Read the memory of another process."""
    stack = next(line for line in read(f"/proc/{pid}/maps").splitlines() if "[stack]" in line)
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        memory.seek(int(stack.split("-")[1].split()[0], 16) - 4096)
        return len(memory.read(4096))


def open_files_of(pid, path):
    for link in sorted(Path(f"/proc/{pid}/fd").iterdir()):
        if str(link.readlink()) == path:
            return read(link)
    raise PermissionError


def stray_descriptor():
    """Read a picture by a descriptor that the evaluator left open."""
    for number in range(3, 1024):
        with contextlib.suppress(OSError):
            if os.pread(number, 8, 0).startswith(b"\x89PNG"):
                return number
    raise PermissionError


def kernel_rings():
    """Use a kernel interface with a history (io_uring)."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(425, 1, ctypes.create_string_buffer(120))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    os.close(descriptor)


def environment():
    return dict(os.environ)


def descriptors():
    names = []
    for number in range(resource.getrlimit(resource.RLIMIT_NOFILE)[0]):
        with contextlib.suppress(OSError):
            os.fstat(number)
            names.append(number)
    return [str(number) for number in names]


def limits():
    names = ("CORE", "FSIZE", "NOFILE", "AS", "DATA")
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[1] for name in names}


def raise_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))
    except ValueError as error:
        raise OSError(errno.EPERM, str(error)) from error


def fill(paths):
    try:
        for path in paths:
            path.write_bytes(bytes(1 << 20))
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def large_file():
    try:
        with Path("large").open("wb") as file:
            file.writelines(bytes(1 << 20) for _ in range(64))
    finally:
        Path("large").unlink()


def many_files():
    fill([Path(tempfile.gettempdir(), f"many-{index}") for index in range(64)])


def fill_shared_memory():
    fill([Path(f"/dev/shm/many-{os.getpid()}-{index}") for index in range(64)])  # noqa: S108


def unnamed_memory():
    return os.memfd_create("hidden")


def raise_memory_limit():
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, unlimited)
    except ValueError as error:
        raise PermissionError from error


def allocate(gibibytes):
    """As numpy and torch get memory: private and written to where it is used."""
    return len(mmap.mmap(-1, int(gibibytes) << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line.split(":")[1].strip() for line in lines if line.startswith(f"{field}:"))


def dumpable():
    return int(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))


def survive_evaluator():
    """Ask the kernel not to be killed together with the evaluator."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(1, ctypes.c_ulong(0), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def new_namespace(flags="0x10000000"):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(int(flags, 0)):
        raise OSError(ctypes.get_errno(), "unshare")


def modules():
    """Import what an entry needs, from where it is looked for."""
    import esrbench
    import esrbench_models

    return [str(esrbench.__file__), str(esrbench_models.__file__)]


def forward():
    """An honest network of two threads."""
    import torch

    torch.set_num_threads(2)
    network = torch.nn.Conv2d(3, 8, 3, padding=1)
    with torch.inference_mode():
        return float(network(torch.ones(1, 3, 64, 64)).numel())


def allocate_tensor():
    import torch

    try:
        torch.empty(1 << 45)
    except (RuntimeError, MemoryError) as error:
        return str(error)
    return "allocated"


def compiled():
    import torch

    return float(torch.compile(lambda x: (x * 2 + 1).relu())(torch.ones(8)).sum())


def wait(seconds):
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    time.sleep(float(seconds))


def read_later(path):
    """Read a file that is made only when this process is there."""
    wait("1")
    return Path(path).read_text(errors="replace")


def leave_daemon(marker):
    """Start a process that leaves session and parent, and write its name; then wait."""
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        with contextlib.suppress(OSError):
            Path("/proc/self/comm").write_text(marker)
        sys.stdout.write("waiting\n")
        sys.stdout.flush()
        time.sleep(120)
        os._exit(0)
    os.wait()
    time.sleep(120)


def hidden_daemon(marker):
    """Leave a process behind that has another parent and session, and no open file."""
    if os.fork():
        os.wait()
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    Path("/proc/self/comm").write_text(marker)
    os.closerange(0, 100)
    time.sleep(600)
    os._exit(0)


def answer(name, *arguments):
    try:
        return {"value": globals()[name](*arguments)}
    except OSError as error:
        return {"denied": errno.errorcode.get(error.errno or 0, str(error))}
    except Exception as error:  # noqa: BLE001 - told to the test
        return {"failed": f"{type(error).__name__}: {error}"}


def many(attempts):
    return [answer(*attempt) for attempt in json.loads(attempts)]


def main(arguments):
    sys.stdout.write(f"\n{json.dumps(answer(*arguments))}\n")
