"""The tests that only a GPU can run, their failures in full."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpu_steps.day import Day, Found, Row

CHECKOUT = Path(__file__).resolve().parents[2]
CHEATS = CHECKOUT / "tests" / "adversarial"
LONGEST_SECONDS = 120


def measure(day: Day) -> Iterator[Found]:
    """One row a test of ``pytest -m cuda``, but for the cheats."""
    files = sorted((CHECKOUT / "tests").rglob("test_*.py"))
    marked = [file for file in files if "mark.cuda" in file.read_text(encoding="utf-8")]
    yield from run_tests(day, "tests", [str(file) for file in marked if CHEATS not in file.parents])


def measure_cheats(day: Day) -> Iterator[Found]:
    """One row a cheat of time on the GPU: passed means that it was caught."""
    yield from run_tests(day, "cheats", [str(CHEATS / "test_gpu.py")])


def run_tests(day: Day, table: str, arguments: Sequence[str]) -> Iterator[Found]:
    """Run tests marked ``cuda``; what pytest prints goes to ``TABLE.txt``."""
    report = day.out / f"{table}.xml"
    command = [sys.executable, "-m", "pytest", "-v", "-m", "cuda", *arguments]
    # The machine has other versions than the pinned ones, and they may warn of other things.
    options = ["-p", "no:cacheprovider", "-W", "default", f"--timeout={LONGEST_SECONDS}"]
    with (day.out / f"{table}.txt").open("w", encoding="utf-8") as log:
        try:
            subprocess.run(  # noqa: S603 - our own tests
                [*command, *options, f"--junitxml={report}"],
                cwd=CHECKOUT,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=max(1.0, day.left()),
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.flush()
            yield from ((table, row) for row in _finished(day.out / f"{table}.txt"))
            yield table, _row("pytest", "cut off", None, "its time was over; see the log")
            return
    if not report.is_file():
        yield table, _row("pytest", "failed", None, "it wrote no report; see the log")
        return
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        outcome, message = "passed", ""
        for kind in ("failure", "error", "skipped"):
            found = case.find(kind)
            if found is not None:
                outcome, message = kind, found.get("message", "").strip().splitlines()[0][:200]
        name = f"{case.get('classname')}.{case.get('name')}"
        yield table, _row(name, outcome, float(case.get("time", 0)), message)


def _finished(log: Path) -> Iterator[Row]:
    """What the log of a run that was cut off says of the tests before that."""
    for line in log.read_text(errors="replace").splitlines():
        found = re.match(r"(\S+::.+) (PASSED|FAILED|ERROR|SKIPPED)", line)
        if found:
            yield _row(found[1], found[2].lower(), None, "")


def _row(test: str, outcome: str, seconds: float | None, message: str) -> Row:
    return {"test": test, "outcome": outcome, "seconds": seconds, "message": message}
