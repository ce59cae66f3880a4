"""``gpu_day.py`` on its CPU twin, so that on a GPU nothing fails for a slip."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu_day.py"
PACK = BENCHMARKS / "gpu_day_pack.sh"


@pytest.fixture(autouse=True)
def _scripts_on_the_path(monkeypatch):
    """Scripts import what lies beside them."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_step_ends_well_and_leaves_its_tables(tmp_path):
    from gpu_day import STEPS

    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--tiny", "--minutes", "60"]
    # The steps' own pytest must not take its settings from this one.
    variables = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    finished = subprocess.run(
        [*command, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=variables,
    )
    logs = {step.name: (tmp_path / f"{step.name}.log").read_text()[-2000:] for step in STEPS}
    assert finished.returncode == 0, (finished.stdout, finished.stderr, logs)
    summary = (tmp_path / "summary.md").read_text()
    for step in STEPS:
        assert f"## {step.title}" in summary
        assert any(rows(tmp_path / f"{name}.csv") for name in step.tables[:1]), step.name
    scores = {row["class"]: row for row in rows(tmp_path / "scores.csv")}
    assert float(scores["fp32"]["largest_difference_db"]) == 0
    assert "only on CUDA" in scores["tf32"]["absent"]
    assert {row["outcome"] for row in rows(tmp_path / "cheats.csv")} <= {"skipped", "passed"}
    absent = {name: rows(tmp_path / f"{name}.csv")[0]["absent"] for name in ("memory", "energy")}
    assert all(absent.values())


def test_a_step_that_ends_early_leaves_its_time_to_the_later_ones():
    from gpu_day import Step, allotted

    first, second, third = (Step(name, name, name, seconds, ()) for name, seconds in SHARES)
    assert allotted(first, (second, third), 480) == 60
    # It took 20 s of 60.
    assert allotted(second, (third,), 460) == pytest.approx(460 * 120 / 420)
    assert allotted(third, (), 100) == 100


SHARES = (("first", 60), ("second", 120), ("third", 300))


def test_the_last_step_too_has_time_to_say_that_it_was_cut_off(tmp_path, monkeypatch):
    import gpu_day

    given = []

    def run_step(_step, _asked, seconds, most_seconds):
        given.append((seconds, most_seconds))
        return "done"

    monkeypatch.setattr(gpu_day, "run_step", run_step)
    arguments = ["--out", str(tmp_path), "--minutes", "2", "--only", "gaps", "cheats"]
    assert gpu_day.run_day(gpu_day.parse(arguments))
    assert len(given) == 2
    for seconds, most_seconds in given:
        assert most_seconds - seconds == pytest.approx(gpu_day.GRACE_SECONDS, abs=0.1)


def test_rows_are_written_as_they_come_and_have_one_shape(tmp_path):
    from gpu_steps.day import write_rows

    def found():
        yield "times", {"network": "rfdn", "ms": 3.14159265}
        assert rows(tmp_path / "times.csv") == [{"network": "rfdn", "ms": "3.141593"}]
        yield "times", {"network": "imdn", "ms": None}
        yield "times", {"network": "imdn", "seconds": 1}

    with pytest.raises(ValueError, match=r"times: a row has the columns .*seconds"):
        write_rows(found(), tmp_path)
    assert [row["ms"] for row in rows(tmp_path / "times.csv")] == ["3.141593", ""]


def test_tests_before_a_cut_are_read_from_the_log(tmp_path):
    from gpu_steps.cuda_tests import _finished

    log = tmp_path / "cheats.txt"
    log.write_text("collected 3 items\ntests/a.py::test_one PASSED [ 33%]\n"
                   "tests/a.py::test_two[x y] FAILED [ 66%]\ntests/a.py::test_three ")  # fmt: skip
    found = [(row["test"], row["outcome"]) for row in _finished(log)]
    assert found == [("tests/a.py::test_one", "passed"), ("tests/a.py::test_two[x y]", "failed")]


def test_all_that_travels_is_pinned():
    pins = {line.partition("==")[0].lower() for line in CONSTRAINTS.read_text().splitlines()}
    text = PACK.read_text()
    names = re.search(r"^CARRIED=\(\n(.*?)^\)", text, re.DOTALL | re.MULTILINE)
    built = re.search(r"^BUILT=\((.*)\)$", text, re.MULTILINE)
    assert names is not None
    assert built is not None
    carried = [*names[1].split(), *built[1].split()]
    assert len(carried) > 30
    assert {name for name in carried if name.lower() not in pins} == set()


CONSTRAINTS = BENCHMARKS.parent / "constraints.txt"


def test_a_pack_never_overwrites_a_folder(tmp_path):
    finished = subprocess.run(
        ["bash", str(PACK), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2
    assert "exists already" in finished.stderr
