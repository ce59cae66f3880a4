import os
import platform

from esrbench import environment
from esrbench.environment import (
    MALLOC_SETTINGS,
    allocator,
    available_cpus,
    cpu_model,
    cpu_name,
    cpus_available,
    describe_environment,
    malloc_settings,
    read_system,
)

MAPS = "proc/self/maps"


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root


def test_the_processor_is_named_by_the_kernel_or_its_architecture(tmp_path):
    expected = platform.processor() or platform.machine()
    assert cpu_name(root=tmp_path) == expected
    text = "processor\t: 0\nmodel name\t: Test CPU @ 2 GHz \nmodel name\t: Other\n"
    assert cpu_name(root=write(tmp_path, "proc/cpuinfo", text)) == "Test CPU @ 2 GHz"


def test_generations_of_one_name_are_told_apart(tmp_path):
    assert cpu_model(root=tmp_path) is None
    text = "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nstepping\t: 1\n"
    found = cpu_model(root=write(tmp_path, "proc/cpuinfo", text))
    assert found == "family 25, model 17, stepping 1"
    assert cpu_model(root=write(tmp_path, "proc/cpuinfo", "CPU part : 0xd0c\n")) is None


def test_what_the_kernel_does_not_tell_is_none(tmp_path):
    assert read_system("proc/stat", root=tmp_path) is None
    assert read_system("proc", root=write(tmp_path, "proc/stat", "x\n")) is None
    assert read_system("proc/stat", root=tmp_path) == "x"


def test_cpus_are_those_of_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {5, 2}, raising=False)
    assert available_cpus() == (2, 5)
    assert cpus_available() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert available_cpus() == ()
    assert cpus_available() == 6


def test_settings_for_glibc_are_recorded_where_glibc_obeys_them(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    glibc = "7f00-7f01 r-xp 0000 fe:00 1  /usr/lib/x86_64-linux-gnu/libc.so.6\n"
    assert allocator(root=write(tmp_path, MAPS, glibc)) == "glibc 2.36"
    assert malloc_settings(root=tmp_path) == MALLOC_SETTINGS
    preloaded = f"{glibc}7f02-7f03 r-xp 0000 fe:00 2  /opt/libmimalloc.so.2\n"
    assert malloc_settings(root=write(tmp_path, MAPS, preloaded)) == {"allocator": "mimalloc"}
    musl = "7f00-7f01 r-xp 0000 fe:00 1  /lib/ld-musl-x86_64.so.1\n"
    assert malloc_settings(root=write(tmp_path, MAPS, musl)) == {"allocator": "musl"}
    assert malloc_settings(root=tmp_path / "elsewhere") == {}


def test_the_environment_records_what_a_runtime_depends_on(monkeypatch):
    monkeypatch.setattr(environment, "malloc_settings", lambda: {"allocator": "jemalloc"})
    found = describe_environment(threads=3, accelerator="Test GPU")
    assert (found.threads, found.accelerator) == (3, "Test GPU")
    assert found.malloc == {"allocator": "jemalloc"}
    assert found.packages["torch"].split("+")[0].count(".") == 2
    assert found.cpus_available == cpus_available()
