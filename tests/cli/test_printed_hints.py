"""Commands that esrbench suggests run as printed, in the folder of the command before."""

import re
import shlex

import pytest
from fake_worker import Workers, use_fake_workers

from esrbench.worker.launcher import Launcher

SUGGESTED = re.compile(r"(?<!`)`esrbench ([a-z][^`]+)`|^next: esrbench (.+?) +#", re.MULTILINE)
TO_FILL_IN = re.compile(r"\b[A-Z]{2,}\b")
"""Stands for what only the user knows."""

SMALL = ("--data", "demo", "--rounds", "3", "--input-size", "24x24", "--results", "my runs")
PROMPTS = {
    "a first run": [("run", "imdn", "bicubic", *SMALL)],
    "a table of another folder": [
        ("run", "imdn", *SMALL),
        ("leaderboard", "--results", "my runs"),
        ("compare", "imdn", "rfdn", "--results", "my runs"),
    ],
    "nothing was run": [
        ("leaderboard",),
        ("report",),
        ("runs", "list"),
        ("compare", "imdn"),
        ("status",),
    ],
    "no baseline yet": [("check", "imdn", "--no-runtime")],
    "a baseline with another data set": [
        ("run", "imdn", *SMALL),
        ("baseline", "update", "imdn", "--no-runtime", "--baseline", "our gate.json"),
        ("check", "imdn", "rfdn", "--no-runtime", "--baseline", "our gate.json"),
    ],
    "an entry of one's own": [
        ("new", "team00-own"),
        ("validate", "team00-own"),
        ("validate", "team99-missing"),
        ("run", "team00-own", *SMALL),
    ],
    "a challenge": [
        ("init-challenge", "esr2031", "--like", "ntire2026"),
        ("run", "esr2031/challenge.toml", "--plan"),
    ],
    "a word that is none": [("help", "not-stedy"), ("leaderbord",), ("run", "imdn", "--dat", "x")],
    "a run that is not there": [("runs", "show", "nothing"), ("runs", "withdraw", "nothing")],
}
"""Commands after which esrbench suggests others, one after the other in one folder."""


@pytest.fixture
def workers(monkeypatch):
    """Workers that answer at once instead of all others."""
    monkeypatch.setattr(Launcher, "worker", Launcher.worker)  # put back afterwards
    for wait in ("SETTLING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"esrbench.runs.timing.{wait}", 0.0)
    use_fake_workers(Workers())


def suggested(done):
    """Commands that can be pasted from what was printed, as lists of words; none of a download."""
    for hint, following in SUGGESTED.findall(done.stdout + done.stderr):
        words = shlex.split(hint or following)
        if words[0] != "fetch" and not any(map(TO_FILL_IN.search, words)):
            yield words


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_suggested_command_runs_as_printed(in_process, work, monkeypatch, prompt):
    monkeypatch.setenv("ESRBENCH_SUBMISSIONS", str(work / "submissions"))
    tried = []
    for command in PROMPTS[prompt]:
        for words in suggested(in_process(*command)):
            if words in tried:
                continue
            tried.append(words)
            done = in_process(*words)
            assert done.returncode not in {2, 70}, f"{words}: {done.stderr}"
    assert tried
