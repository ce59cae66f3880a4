from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch

from esrbench.doctor import software

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from esrbench.doctor import Machine

    Build = Callable[..., Machine]

MAPS = "7f00-7f01 r-xp 00000000 fe:00 1  "


def test_memory_that_is_short_is_told(machine: Build) -> None:
    assert software.check_memory(machine()).finding == "8.0 GiB available"
    check = software.check_memory(machine({"proc/meminfo": "MemAvailable:  1048576 kB\n"}))
    assert (check.state, check.finding) == ("warning", "1.0 GiB available")


def test_swap_in_use_is_told(machine: Build) -> None:
    assert software.check_swap(machine()).finding == "0 MiB of 2.0 GiB used, swappiness 60"
    used = {"proc/meminfo": "SwapTotal: 2097152 kB\nSwapFree: 1048576 kB\n"}
    assert software.check_swap(machine(used)).state == "warning"
    none = {"proc/meminfo": "SwapTotal: 0 kB\nSwapFree: 0 kB\n"}
    assert software.check_swap(machine(none)).finding == "none"


def test_the_setting_of_huge_pages_is_told(machine: Build) -> None:
    assert software.check_huge_pages(machine()).finding.startswith("madvise;")


@pytest.mark.parametrize(
    ("mapped", "state", "says"),
    [
        ("/lib/libc.so.6", "ok", "MALLOC_MMAP_MAX_=0"),
        ("/lib/libc.so.6\n" + MAPS + "/usr/lib/libjemalloc.so.2", "warning", "jemalloc"),
        ("/lib/libc.so.6\n" + MAPS + "/usr/lib/libtcmalloc_minimal.so.4", "warning", "tcmalloc"),
        ("/lib/ld-musl-x86_64.so.1", "warning", "musl"),
        ("/usr/bin/python", "unknown", "not told"),
        # A folder's name is no allocator.
        ("/opt/jemalloc/lib/libc.so.6", "ok", "glibc"),
    ],
)
def test_the_allocator_must_obey_the_settings(
    machine: Build, mapped: str, state: str, says: str
) -> None:
    check = software.check_allocator(machine({"proc/self/maps": f"{MAPS}{mapped}\n"}))
    assert check.state == state
    assert says in check.finding


def test_variables_that_disturb_are_told_with_their_effect(machine: Build) -> None:
    assert software.check_variables(machine()).finding == "none that matter"
    harmless = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "5", "HOME": "/", "OMP_PLACES": ""}
    check = software.check_variables(machine(variables=harmless))
    assert check.state == "ok"
    assert check.finding == "OMP_NUM_THREADS, MALLOC_MMAP_MAX_ set, without effect"
    bad = {"MALLOC_ARENA_MAX": "1", "KMP_AFFINITY": "none", "HOME": "/"}
    check = software.check_variables(machine(variables=bad))
    assert check.state == "warning"
    assert "KMP_AFFINITY=none moves threads" in check.finding
    assert check.advice == "unset KMP_AFFINITY MALLOC_ARENA_MAX"


def test_variables_that_override_the_precision_forbid_measuring(machine: Build) -> None:
    variables = {"NVIDIA_TF32_OVERRIDE": "1", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    on_cpu = software.check_variables(machine(variables=variables))
    assert (on_cpu.state, on_cpu.advice) == ("problem", "unset ONEDNN_DEFAULT_FPMATH_MODE")
    on_gpu = software.check_variables(machine(variables=variables, device="cuda"))
    assert (on_gpu.state, on_gpu.advice) == ("problem", "unset NVIDIA_TF32_OVERRIDE")
    strict = {"ONEDNN_DEFAULT_FPMATH_MODE": "STRICT"}
    assert software.check_variables(machine(variables=strict)).state == "ok"


def test_this_pytorch_is_told_and_an_older_one_warned_of(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = software.check_torch(machine())
    assert check.finding.startswith(f"{torch.__version__}, ")
    assert check.state == "ok"
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    old = software.check_torch(machine())
    assert (old.state, old.advice) == (
        "warning",
        "Install 2.13 or newer: figures were tested with it.",
    )


def test_a_pytorch_without_vector_units_is_warned_of(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert software.check_torch(machine()).state == "warning"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert software.check_torch(machine()).state == "ok"


def test_releases_are_compared_as_numbers() -> None:
    assert software._release("2.13.0+cpu") == (2, 13, 0) > software._release("2.9")


def test_a_folder_that_takes_files_is_fine_and_not_made(machine: Build, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    check = software.check_results(machine(results=folder))
    assert check.state in {"ok", "warning"}  # by the space that is left here
    assert "free" in check.finding
    assert not folder.parent.exists()


def test_a_folder_that_takes_no_files_forbids_measuring(machine: Build, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    check = software.check_results(machine(results=blocked / "in"))
    assert check.state == "problem"
    assert "cannot be written" in check.finding
    assert check.advice is not None
    assert "--results" in check.advice
    cache = software.check_cache(machine(cache=blocked))
    assert cache.state == "problem"
    assert cache.advice is not None
    assert "ESRBENCH_CACHE" in cache.advice


def test_a_folder_that_is_nearly_full_is_warned_of(
    machine: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=2**30))
    assert software.check_results(machine()).state == "ok"
    cache = software.check_cache(machine())
    assert cache.state == "warning"
    assert cache.advice.startswith("Free 1.0 GiB")


@pytest.mark.parametrize(
    "check", [software.check_memory, software.check_swap, software.check_huge_pages]
)
def test_what_the_system_does_not_tell_is_unknown(
    check: Callable[[Machine], software.Diagnosis], silent: Machine
) -> None:
    assert check(silent).state == "unknown"
