import os

from esrbench.sandbox import limits
from esrbench.sandbox.limits import Limits, usable_memory_bytes


def write(root, name, text):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_memory_is_the_machines_or_the_containers_less_a_sixteenth(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "physical_memory_bytes", lambda: 32 << 30)
    assert usable_memory_bytes(root=tmp_path) == 30 << 30
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    assert usable_memory_bytes(root=tmp_path) == 30 << 30
    write(tmp_path, "sys/fs/cgroup/memory.max", f"{16 << 30}\n")
    assert usable_memory_bytes(root=tmp_path) == 15 << 30
    monkeypatch.setattr(limits, "physical_memory_bytes", lambda: None)
    assert usable_memory_bytes(root=tmp_path / "nothing") is None


def test_address_space_is_never_limited_on_a_gpu():
    on_gpu = Limits(memory_bytes=1 << 30).resources(capped_memory=False)
    assert not {"RLIMIT_AS", "RLIMIT_DATA"} & on_gpu.keys()
    on_cpu = Limits(memory_bytes=1 << 30).resources(capped_memory=True)
    assert on_cpu["RLIMIT_DATA"] == 1 << 30
    assert on_cpu["RLIMIT_AS"] > 1 << 30
    assert on_cpu["RLIMIT_CORE"] == on_gpu["RLIMIT_CORE"] == 0


def test_processes_are_counted_for_users_whom_the_kernel_counts(monkeypatch):
    monkeypatch.setattr(limits, "user_threads", lambda: 40)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert Limits().resources(capped_memory=True)["RLIMIT_NPROC"] == 40 + limits.THREADS
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert "RLIMIT_NPROC" not in Limits().resources(capped_memory=True)


def test_threads_of_this_user_are_counted(tmp_path):
    for pid, threads in ((10, 3), (11, 4)):
        write(tmp_path, f"{pid}/status", f"Name:\tx\nThreads:\t{threads}\n")
    write(tmp_path, "sys/status", "Threads:\t9\n")
    assert limits.user_threads(proc=tmp_path) == 7
    assert limits.user_threads(proc=tmp_path / "nothing") is None
