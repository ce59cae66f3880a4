import pytest

from esrbench.doctor import Machine

QUIET = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Test CPU\nflags\t\t: fpu avx2\n",
    "proc/loadavg": "0.10 0.20 0.30 1/99 12345\n",
    "proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n"
    "SwapTotal: 2097152 kB\nSwapFree: 2097152 kB\n",
    "proc/sys/vm/swappiness": "60\n",
    "proc/self/cgroup": "0::/\n",
    "proc/self/maps": "7f00-7f01 r-xp 00000000 fe:00 1  /usr/lib/x86_64-linux-gnu/libc.so.6\n",
    "proc/stat": "cpu  0 0 0 0\ncpu0 10 0 5 500 1 0 0 0 0 0\ncpu1 10 0 5 500 1 0 0 0 0 0\n",
    "sys/devices/system/cpu/online": "0-1\n",
    "sys/devices/system/cpu/cpu0/topology/thread_siblings_list": "0\n",
    "sys/devices/system/cpu/cpu1/topology/thread_siblings_list": "1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "4\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "sys/class/power_supply/BAT0/status": "Charging\n",
}
"""Files of a machine of two CPUs that is fit for measuring."""


@pytest.fixture
def machine(tmp_path):
    """A machine whose system tells what ``QUIET`` does, but for the files given; None is absent."""

    def build(files=None, **fields):
        root = tmp_path / "root"
        for path, text in (QUIET | (files or {})).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                (root / path).unlink(missing_ok=True)
            else:
                (root / path).write_text(text)
        given = {
            "device": "cpu",
            "results": tmp_path / "results",
            "cache": tmp_path / "cache",
            "root": root,
            "cpus": (0, 1),
            "variables": {},
        }
        return Machine(**(given | fields))

    return build


@pytest.fixture
def silent(tmp_path):
    """A machine without ``/proc`` and ``/sys``, and without a notion of affinity."""
    return Machine(
        device="cpu",
        results=tmp_path / "results",
        cache=tmp_path / "cache",
        root=tmp_path / "nothing",
        cpus=(),
        variables={},
    )
