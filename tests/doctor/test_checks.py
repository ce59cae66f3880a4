"""Each check of processor, memory, software and folders, on machines made by hand."""

from fnmatch import fnmatchcase
from types import SimpleNamespace

import pytest
import torch

from esrbench.doctor import processor, software
from esrbench.doctor.check import parse_cpus

CPU = "sys/devices/system/cpu"
V1 = "sys/fs/cgroup/cpu,cpuacct"
CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"
MAPS = "7f00-7f01 r-xp 00000000 fe:00 1  "
NO_QUOTA = "none: all CPUs all the time"


def of_cpus(path, text):
    return {f"{CPU}/cpu{cpu}/{path}": text for cpu in (0, 1)}


def mapped(*libraries):
    return {"proc/self/maps": "".join(f"{MAPS}{library}\n" for library in libraries)}


def load(text):
    return {"proc/loadavg": text}


def boost(path, text):
    return {f"{CPU}/cpufreq/boost": None, f"{CPU}/{path}": text}


def meminfo(text):
    return {"proc/meminfo": text}


SHARED_CORE = of_cpus("topology/thread_siblings_list", "0-1") | {f"{CPU}/online": "0-3,8"}
V1_WITHOUT_QUOTA = {
    "proc/self/cgroup": "4:cpu,cpuacct:/",
    f"{V1}/cpu.cfs_quota_us": "-1",
    f"{V1}/cpu.cfs_period_us": "100000",
}
DISCHARGING = {"sys/class/power_supply/BAT0/status": "Discharging"}
SWAPPED = meminfo("SwapTotal: 2097152 kB\nSwapFree: 1048576 kB\n")
POWERSAVE = {f"{CPU}/cpu1/cpufreq/scaling_governor": "powersave"}
GUEST = {"proc/cpuinfo": "flags : fpu hypervisor avx2\n"}
JEMALLOC, TCMALLOC = "/usr/lib/libjemalloc.so.2", "/usr/lib/libtcmalloc_minimal.so.4"
CALM = "0.10 0.20 0.30 over 1, 5 and 15 minutes, for 2 CPUs"
CHECKS = vars(processor) | vars(software)


@pytest.mark.parametrize(
    ("check", "files", "state", "finding"),
    [
        ("load_average", {}, "ok", CALM),
        ("load_average", load("0.99 9 9 1/9 1"), "ok", "*"),
        ("load_average", load("1.00 0 0 1/9 1"), "warning", "*"),
        ("quota", {}, "ok", NO_QUOTA),
        ("quota", V1_WITHOUT_QUOTA, "ok", NO_QUOTA),
        ("quota", {"sys/fs/cgroup/cpu.max": "200000 100000"}, "ok", "*"),
        ("cpus", {}, "ok", "Test CPU; 2 can be used, on 2 cores"),
        ("cpus", SHARED_CORE, "warning", "Test CPU; 2 can be used of 5 online, on 1 cores"),
        ("governor", {}, "ok", "performance on 2 CPUs"),
        ("governor", POWERSAVE, "warning", "performance, powersave on 2 CPUs"),
        ("governor", of_cpus("cpufreq/scaling_governor", None), "unknown", "*"),
        ("virtual", {}, "ok", "*"),
        ("virtual", GUEST, "warning", "*"),
        ("virtual", {"proc/cpuinfo": "Features : fp asimd\n"}, "unknown", "*"),
        ("power", {}, "ok", "*"),
        ("power", DISCHARGING, "warning", "BAT0 is discharging"),
        ("memory", {}, "ok", "8.0 GiB available"),
        ("memory", meminfo("MemAvailable:  1048576 kB\n"), "warning", "1.0 GiB available"),
        ("swap", {}, "ok", "0 MiB of 2.0 GiB used, swappiness 60"),
        ("swap", SWAPPED, "warning", "*"),
        ("swap", meminfo("SwapTotal: 0 kB\nSwapFree: 0 kB\n"), "ok", "none"),
        ("huge_pages", {}, "ok", "madvise;*"),
        ("allocator", mapped("/lib/libc.so.6"), "ok", "*MALLOC_MMAP_MAX_=0*"),
        ("allocator", mapped("/lib/libc.so.6", JEMALLOC), "warning", "*jemalloc*"),
        ("allocator", mapped("/lib/libc.so.6", TCMALLOC), "warning", "*tcmalloc*"),
        ("allocator", mapped("/lib/ld-musl-x86_64.so.1"), "warning", "*musl*"),
        ("allocator", mapped("/usr/bin/python"), "unknown", "*not told*"),
        # A folder's name is no allocator.
        ("allocator", mapped("/opt/jemalloc/lib/libc.so.6"), "ok", "*glibc*"),
    ],
)
def test_what_a_system_tells(machine, check, files, state, finding):
    found = CHECKS[f"check_{check}"](machine(files))
    assert found.state == state
    assert fnmatchcase(found.finding, finding)


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({"proc/self/cgroup": "0::/box", "sys/fs/cgroup/box/cpu.max": "150000 100000"}, "1.5"),
        # A parent binds its children.
        (
            {
                "proc/self/cgroup": "0::/outer/inner",
                "sys/fs/cgroup/outer/inner/cpu.max": "max 100000",
                "sys/fs/cgroup/outer/cpu.max": "50000 100000",
            },
            "0.5",
        ),
        # A container often sees its own group as the root, whatever its path says.
        ({"proc/self/cgroup": "0::/docker/0123", "sys/fs/cgroup/cpu.max": "100000 100000"}, "1"),
        (
            {
                "proc/self/cgroup": "5:memory:/box\n4:cpu,cpuacct:/box\n0::/",
                f"{V1}/box/cpu.cfs_quota_us": "100000",
                f"{V1}/box/cpu.cfs_period_us": "100000",
            },
            "1",
        ),
    ],
)
def test_a_quota_below_the_cpus_is_found(machine, files, granted):
    check = processor.check_quota(machine(files))
    assert check.state == "warning"
    assert check.finding == f"{granted} of 2 CPUs granted"
    assert "--threads 1" in check.advice


@pytest.mark.parametrize(
    ("path", "text", "advised"),
    [
        ("cpufreq/boost", "0", None),
        ("cpufreq/boost", "1", "0"),
        ("intel_pstate/no_turbo", "1", None),
        ("intel_pstate/no_turbo", "0", "1"),
    ],
)
def test_turbo_by_either_switch(machine, path, text, advised):
    check = processor.check_boost(machine(boost(path, text)))
    assert check.state == ("warning" if advised else "ok")
    assert check.advice == (f"echo {advised} | sudo tee /{CPU}/{path}" if advised else None)


def test_a_slow_clock_source_is_told(machine, monkeypatch):
    monkeypatch.setattr(processor, "_clock_step", lambda: 4e-8)
    fine = processor.check_clock(machine())
    assert fine.state == "ok"
    assert fine.finding.endswith("tsc, steps of 40 ns")
    assert processor.check_clock(machine({CLOCK: "hpet"})).state == "warning"
    monkeypatch.setattr(processor, "_clock_step", lambda: 1e-5)
    assert "1.0 ms" in processor.check_clock(machine()).advice


def test_the_step_of_the_clock_is_measured():
    assert 0 < processor._clock_step() < 1e-3


@pytest.mark.parametrize(
    ("fields", "state", "finding", "advice"),
    [
        ({}, "ok", "none that matter", None),
        (
            {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "5", "HOME": "/", "OMP_PLACES": ""},
            "ok",
            "OMP_NUM_THREADS, MALLOC_MMAP_MAX_ set, without effect",
            None,
        ),
        (
            {"MALLOC_ARENA_MAX": "1", "KMP_AFFINITY": "none", "HOME": "/"},
            "warning",
            "*KMP_AFFINITY=none moves threads*",
            "unset KMP_AFFINITY MALLOC_ARENA_MAX",
        ),
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}, "ok", "*", None),
    ],
)
def test_variables_that_disturb_are_told_with_their_effect(machine, fields, state, finding, advice):
    check = software.check_variables(machine(variables=fields))
    assert (check.state, check.advice) == (state, advice)
    assert fnmatchcase(check.finding, finding)


@pytest.mark.parametrize(
    ("device", "refused"),
    [("cpu", "ONEDNN_DEFAULT_FPMATH_MODE"), ("cuda", "NVIDIA_TF32_OVERRIDE")],
)
def test_variables_that_override_the_precision_forbid_measuring(machine, device, refused):
    variables = {"NVIDIA_TF32_OVERRIDE": "1", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    check = software.check_variables(machine(variables=variables, device=device))
    assert (check.state, check.advice) == ("problem", f"unset {refused}")


def test_this_pytorch_is_told_and_an_older_one_warned_of(machine, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    check = software.check_torch(machine())
    assert check.finding.startswith(f"{torch.__version__}, ")
    assert check.state == "ok"
    monkeypatch.setattr(torch, "__version__", "1.13.1+cpu")
    old = software.check_torch(machine())
    assert old.state == "warning"
    assert "or newer: figures were tested with it" in (old.advice or "")


def test_a_pytorch_without_vector_units_is_warned_of(machine, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    for processor_kind, state in (("x86_64", "warning"), ("aarch64", "ok")):
        monkeypatch.setattr("platform.machine", lambda kind=processor_kind: kind)
        assert software.check_torch(machine()).state == state


def test_releases_are_compared_as_numbers():
    assert software._release("2.13.0+cpu") == (2, 13, 0) > software._release("2.9")


def test_a_folder_that_takes_files_is_fine_and_not_made(machine, tmp_path):
    folder = tmp_path / "not" / "yet"
    check = software.check_results(machine(results=folder))
    assert check.state in {"ok", "warning"}  # by the space that is left here
    assert "free" in check.finding
    assert not folder.parent.exists()


def test_a_folder_that_takes_no_files_forbids_measuring(machine, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    for check, option, named in (
        (software.check_results(machine(results=blocked / "in")), "--results", "results folder"),
        (software.check_cache(machine(cache=blocked)), "ESRBENCH_CACHE", "cache folder"),
    ):
        assert (check.name, check.state) == (named, "problem")
        assert "cannot be written" in check.finding
        assert option in check.advice


def test_a_folder_that_is_nearly_full_is_warned_of(machine, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=2**30))
    assert software.check_results(machine()).state == "ok"
    cache = software.check_cache(machine())
    assert cache.state == "warning"
    assert cache.advice.startswith("Free 1.0 GiB")


@pytest.mark.parametrize(
    "check",
    "load_average quota cpus governor boost virtual power memory swap huge_pages".split(),  # noqa: SIM905
)
def test_what_the_system_does_not_tell_is_unknown(check, silent):
    assert CHECKS[f"check_{check}"](silent).state == "unknown"


def test_cpu_lists_are_those_of_the_kernel():
    assert parse_cpus("0-2,8") == (0, 1, 2, 8)
    assert parse_cpus("") == ()
