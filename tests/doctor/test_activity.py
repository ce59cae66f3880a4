import dataclasses

import pytest

from esrbench.doctor.activity import check_heat, check_other_load, check_steal, read_activity


@pytest.fixture(autouse=True)
def _hundred_ticks(monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda _name: 100)


def process(pid, name, user, system):
    """A process as proc(5) has it: user and system time are the 14th and 15th field."""
    before = f"{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0"
    return {f"proc/{pid}/stat": f"{before} {user} {system} 0 0 20 0 1 0 0 0 0"}


def stat(busy, steal):
    """CPUs 0 and 1, which are ours, and CPU 2, which is not."""
    ours = f"{busy} 0 0 1000 0 0 0 {steal} 0 0"
    return {"proc/stat": f"cpu  0 0\ncpu0 {ours}\ncpu1 {ours}\ncpu2 99999 0 0 0 0 0 0 9 0 0\n"}


def at(activity, seconds):
    reading = dataclasses.replace(activity.reading, seconds=seconds, own_seconds=0.0)
    return dataclasses.replace(activity, reading=reading)


def one_second(build, first, second):
    machine = build(first, pid=7)
    before = at(read_activity(machine), 10.0)
    after = at(read_activity(build(second, pid=7)), 11.0)
    return machine, before, after


def test_other_processes_are_named_by_their_share_of_one_cpu(machine):
    first = process(5, "hog (1) of 2", 10, 10) | process(6, "mouse", 0, 0) | process(7, "us", 0, 0)
    second = process(5, "hog (1) of 2", 70, 30) | process(6, "mouse", 2, 0) | process(7, "us", 9, 9)
    seen = one_second(machine, first | stat(100, 0), second | stat(142, 0))
    check = check_other_load(*seen)
    # 42 busy ticks on each of two CPUs, of 100 a second each
    assert check.state == "warning"
    assert check.finding == "they take 42.0 % of 2 CPUs now; of one CPU: hog (1) of 2 80.0 %"


def test_a_little_load_is_fine(machine):
    check = check_other_load(*one_second(machine, stat(100, 0), stat(104, 0)))
    assert (check.state, check.finding) == ("ok", "they take 4.0 % of 2 CPUs now")


def test_steal_is_told_from_one_percent_on(machine):
    stolen = check_steal(*one_second(machine, stat(0, 50), stat(0, 52)))
    assert (stolen.state, stolen.finding) == (
        "warning",
        "other machines take 2.0 % of our CPUs now",
    )
    assert check_steal(*one_second(machine, stat(0, 50), stat(0, 50))).state == "ok"


def test_clocks_lowered_meanwhile_are_told(machine):
    before = read_activity(machine())
    assert check_heat(machine(), before).finding == (
        "clocks were lowered for heat 0 times just now, 7 times since boot"
    )
    count = "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"
    hot = check_heat(machine({count: "5"}), before)
    assert (hot.state, hot.finding) == (
        "warning",
        "clocks were lowered for heat 2 times just now, 9 times since boot",
    )


def test_what_the_system_does_not_tell_is_unknown(silent):
    seen = read_activity(silent)
    assert check_other_load(silent, at(seen, 0), at(seen, 1)).state == "unknown"
    assert check_steal(silent, at(seen, 0), at(seen, 1)).state == "unknown"
    assert check_heat(silent, seen).state == "unknown"
