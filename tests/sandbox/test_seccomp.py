import ctypes
import ctypes.util
import errno
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from builders import python

from esrbench.devices import DEVICES
from esrbench.sandbox import seccomp
from esrbench.sandbox.seccomp import ALLOW, ERRNO, KILL_PROCESS, Rules, program
from esrbench.sandbox.syscalls import HIGHEST, SYSCALLS

MACHINES = ("x86_64", "aarch64")
OWN, EVALUATOR = 100, 50
STRICT = Rules(processes=False, own=OWN)
CUDA_CALLS = DEVICES["cuda"].calls
COMPILING = Rules(processes=True, own=OWN)
ON_HOST = Rules(processes=False, own=OWN, evaluator=EVALUATOR)
COMPILING_ON_HOST = Rules(processes=True, own=OWN, evaluator=EVALUATOR)
EPERM, ENOSYS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
AF_UNIX, AF_INET, AF_NETLINK = 1, 2, 16
STREAM, DATAGRAM, RAW, SEQUENCED, CLOSE_ON_EXEC = 1, 2, 3, 5, 0o2000000
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


def decide(machine, rules, number, *arguments, architecture=None):
    """What a filter returns, by an interpreter of the steps that it uses (bpf(4))."""
    own = seccomp.ARCHITECTURES[machine] if architecture is None else architecture
    data = {0: number, 4: own}
    for index, value in enumerate((*arguments, *(0,) * (6 - len(arguments)))):
        data |= {16 + 8 * index: value & 0xFFFFFFFF, 20 + 8 * index: value >> 32 & 0xFFFFFFFF}
    steps = program(machine, rules)
    accumulator = position = 0
    while True:
        code, if_true, if_false, value = steps[position]
        position += 1
        match code:
            case 0x06:
                return value
            case 0x20:
                accumulator = data[value]
            case 0x54:
                accumulator &= value
            case 0x15:
                position += if_true if accumulator == value else if_false
            case 0x35:
                position += if_true if accumulator >= value else if_false
            case 0x45:
                position += if_true if accumulator & value else if_false
            case _:
                raise AssertionError(f"no such step: {code:#x}")


def number(machine, name):
    return getattr(SYSCALLS[name], machine)


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_the_kernels_headers(machine):
    header = HEADERS[machine]
    if not header.is_file():
        pytest.skip(f"no kernel headers at {header}")
    pattern = r"#define __NR(?:3264)?_(\w+)\s+(\d+)"
    told = {name: int(value) for name, value in re.findall(pattern, header.read_text())}
    known = {name: getattr(call, machine) for name, call in SYSCALLS.items()}
    youngest = max(told.values())
    for name, value in known.items():
        # Newer than these headers, or of another machine only.
        if value is not None and value <= youngest and name in told:
            assert value == told[name], name
        assert value is not None or name not in told, name
    assert sum(name in told for name in known) > 80


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_those_of_libseccomp(machine):
    library = ctypes.util.find_library("seccomp")
    if library is None:
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(library).seccomp_syscall_resolve_name_arch
    compared = 0
    for name, call in SYSCALLS.items():
        told = resolve(ctypes.c_uint32(seccomp.ARCHITECTURES[machine]), name.encode())
        # Negative where it is not known there.
        if told >= 0:
            assert getattr(call, machine) == told, name
            compared += 1
    assert compared > 80


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_named_is_younger_than_the_youngest(machine):
    numbers = [getattr(call, machine) for call in SYSCALLS.values()]
    there = [found for found in numbers if found is not None]
    assert len(set(there)) == len(there)
    assert max(there) == HIGHEST


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rules", [STRICT, COMPILING, ON_HOST, COMPILING_ON_HOST])
def test_without_a_gpu_no_worker_has_a_socket(machine, rules):
    for name in ("socket", "bind", "listen"):
        assert decide(machine, rules, number(machine, name), AF_UNIX, STREAM) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_with_a_gpu_a_worker_may_listen_locally_and_neither_connect_nor_send(machine):
    rules = replace(ON_HOST, device_calls=CUDA_CALLS)
    socket = partial(decide, machine, rules, number(machine, "socket"))
    for type_ in (STREAM, SEQUENCED, SEQUENCED | CLOSE_ON_EXEC):
        assert socket(AF_UNIX, type_) == ALLOW
        assert socket(AF_INET, type_) == EPERM
    assert socket(AF_UNIX, DATAGRAM) == EPERM
    assert socket(AF_NETLINK, RAW) == EPERM
    allowed = {name: decide(machine, rules, number(machine, name)) for name in ("bind", "listen")}
    assert set(allowed.values()) == {ALLOW}
    for name in ("connect", "accept", "accept4"):
        assert decide(machine, rules, number(machine, name)) == EPERM, name


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rules", [STRICT, COMPILING, ON_HOST, COMPILING_ON_HOST])
def test_what_is_always_denied(machine, rules):
    for name, call in SYSCALLS.items():
        if call.kind == "denied" and getattr(call, machine) is not None:
            assert decide(machine, rules, number(machine, name)) == EPERM, name
    assert decide(machine, rules, number(machine, "clone3")) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_unnamed_calls_pass_and_unknown_ones_do_not_exist(machine):
    read = {"x86_64": 0, "aarch64": 63}[machine]
    futex = {"x86_64": 202, "aarch64": 98}[machine]
    for call in (read, futex):
        assert decide(machine, STRICT, call) == ALLOW
    assert decide(machine, STRICT, HIGHEST + 1) == ENOSYS
    x32 = 0x40000000
    assert decide(machine, STRICT, x32 | read) == ENOSYS


def test_another_architecture_ends_the_process():
    i386 = 0x40000003
    assert decide("x86_64", STRICT, 0, architecture=i386) == KILL_PROCESS


@pytest.mark.parametrize("machine", MACHINES)
def test_threads_start_but_processes_only_where_allowed(machine):
    clone = number(machine, "clone")
    # As glibc starts a thread and a process.
    thread, process = 0x3D0F00, 0x01200011
    for rules in (STRICT, ON_HOST):
        assert decide(machine, rules, clone, thread) == ALLOW
        assert decide(machine, rules, clone, process) == EPERM
        assert decide(machine, rules, number(machine, "execve")) == EPERM
    for rules in (COMPILING, COMPILING_ON_HOST):
        assert decide(machine, rules, clone, process) == ALLOW
        assert decide(machine, rules, number(machine, "execve")) == ALLOW
        for namespace in (0x20000, 0x2000000, 0x10000000, 0x20000000, 0x40000000):
            assert decide(machine, rules, clone, process | namespace) == EPERM
        # A child of the evaluator's, whose end would be told there.
        assert decide(machine, rules, clone, process | 0x8000) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_only_stream_pairs_of_sockets(machine):
    pair = number(machine, "socketpair")
    unix, inet, stream, datagram, close_on_exec = 1, 2, 1, 2, 0o2000000
    assert decide(machine, STRICT, pair, unix, stream | close_on_exec) == ALLOW
    assert decide(machine, STRICT, pair, unix, datagram) == EPERM
    assert decide(machine, STRICT, pair, inet, stream) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_signals_reach_the_worker_alone(machine):
    for name in ("kill", "tgkill"):
        call = number(machine, name)
        assert decide(machine, STRICT, call, OWN) == ALLOW
        for other in (EVALUATOR, 0, 1, 0xFFFFFFFF):
            assert decide(machine, STRICT, call, other) == EPERM
        assert decide(machine, COMPILING_ON_HOST, call, OWN + 1) == ALLOW
        assert decide(machine, COMPILING_ON_HOST, call, EVALUATOR) == EPERM
        assert decide(machine, COMPILING_ON_HOST, call, 0xFFFFFFFFFFFFFFFF) == EPERM
        assert decide(machine, COMPILING_ON_HOST, call, 0x100000000 - EVALUATOR) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_where_the_host_is_in_reach_its_files_and_processes_stay_as_they_are(machine):
    fchmod = number(machine, "fchmod")
    assert decide(machine, ON_HOST, fchmod) == EPERM
    assert decide(machine, COMPILING_ON_HOST, fchmod) == ERRNO, "nothing happens, nothing fails"
    assert decide(machine, COMPILING_ON_HOST, number(machine, "fchown")) == EPERM
    assert decide(machine, STRICT, fchmod) == ALLOW
    for name in ("ioprio_set", "sched_setattr", "sched_setparam", "sched_setscheduler"):
        assert decide(machine, ON_HOST, number(machine, name), EVALUATOR) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rules", [STRICT, COMPILING, ON_HOST, COMPILING_ON_HOST])
def test_no_other_process_is_moved_signalled_or_looked_into(machine, rules):
    affinity, fcntl = number(machine, "sched_setaffinity"), number(machine, "fcntl")
    ioctl = number(machine, "ioctl")
    assert decide(machine, rules, affinity, 0) == ALLOW
    assert decide(machine, rules, affinity, OWN) == ALLOW
    for other in (EVALUATOR, OWN + 3, 1, 0xFFFFFFFF):
        # Behind bubblewrap there are no others to be seen.
        allowed = rules.evaluator is None
        assert decide(machine, rules, affinity, other) == (ALLOW if allowed else EPERM)
    for name in ("kcmp", "process_madvise", "move_pages", "migrate_pages", "ptrace"):
        assert decide(machine, rules, number(machine, name), EVALUATOR) == EPERM
    # linux/fcntl.h: F_SETOWN, F_SETSIG and F_SETOWN_EX; F_DUPFD, F_SETFL and F_ADD_SEALS.
    for command, decision in (
        (8, EPERM),
        (10, EPERM),
        (15, EPERM),
        (0, ALLOW),
        (4, ALLOW),
        (1033, ALLOW),
    ):
        assert decide(machine, rules, fcntl, 3, command) == decision
    # asm-generic/sockios.h and ioctls.h: FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX; and TCGETS,
    # FIONREAD.
    for command, decision in (
        (0x8901, EPERM),
        (0x8902, EPERM),
        (0x5412, EPERM),
        (0x541C, EPERM),
        (0x5401, ALLOW),
        (0x541B, ALLOW),
    ):
        assert decide(machine, rules, ioctl, 3, command) == decision


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_of_others_and_the_grip_on_itself_stay(machine):
    limit, control = number(machine, "prlimit64"), number(machine, "prctl")
    assert decide(machine, STRICT, limit, 0) == ALLOW
    assert decide(machine, STRICT, limit, OWN) == ALLOW
    assert decide(machine, STRICT, limit, EVALUATOR) == EPERM
    death_signal, name = 1, 15
    assert decide(machine, STRICT, control, death_signal) == EPERM
    assert decide(machine, STRICT, control, name) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_uncounted_memory_is_for_gpus_only(machine):
    on_gpu = Rules(processes=False, own=OWN, device_calls=CUDA_CALLS)
    assert decide(machine, STRICT, number(machine, "memfd_create")) == ENOSYS
    assert decide(machine, on_gpu, number(machine, "memfd_create")) == ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_every_jump_fits_and_every_path_ends(machine):
    for rules in (STRICT, COMPILING, ON_HOST, COMPILING_ON_HOST):
        steps = program(machine, rules)
        assert len(steps) <= 4096
        for position, step in enumerate(steps):
            if step.code != 0x06:
                assert position + 1 + max(step.if_true, step.if_false) < len(steps)
                assert max(step.if_true, step.if_false) < 256


@pytest.mark.skipif(seccomp.this_machine() is None, reason="no filter for this machine")
def test_the_kernel_takes_the_filter_in_every_thread():
    script = """
import ctypes, os, threading
from esrbench.devices import DEVICES
from esrbench.sandbox import seccomp
ctypes.CDLL(None).prctl(38, ctypes.c_ulong(1), 0, 0, 0)
begin, results = threading.Event(), []
def attempt():
    begin.wait()
    try:
        os.fork()
    except PermissionError:
        results.append("denied")
thread = threading.Thread(target=attempt)
thread.start()
seccomp.install(seccomp.Rules(processes=False, own=os.getpid()))
begin.set()
thread.join()
print(results)
"""
    assert python(script) == "['denied']"


def test_a_machine_without_a_filter_is_refused(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert seccomp.this_machine() is None
    with pytest.raises(OSError, match="no filter for riscv64"):
        seccomp.install(STRICT)
