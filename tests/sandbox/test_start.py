import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from esrbench.sandbox.start import Policy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def policy(tmp_path):
    (tmp_path / "entry.py").write_text(
        "import json, sys\ndef main(arguments):\n"
        "    print(json.dumps([arguments, sorted(sys.modules), sys.path]))\n"
    )
    return Policy(
        entry="entry:main",
        evaluator=os.getpid(),
        path=[str(tmp_path), *(path for path in sys.path if path)],
        temp=str(tmp_path),
        privileges=True,
        grants=None,
        resources={"RLIMIT_CORE": 0},
        processes=False,
        device_calls=[],
    )


def started(policy, *arguments):
    descriptor = policy.write()
    try:
        return subprocess.run(
            [sys.executable, "-P", "-m", "esrbench.sandbox.start", str(descriptor), *arguments],
            pass_fds=[descriptor],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        )
    finally:
        os.close(descriptor)


def test_the_entry_gets_its_arguments_and_path_before_anything_heavy(policy):
    done = started(policy, "3", "a b")
    assert done.returncode == 0, done.stderr
    arguments, modules, path = json.loads(done.stdout)
    assert arguments == ["3", "a b"]
    assert path == policy.path
    assert not {"torch", "numpy", "pydantic", "esrbench.worker.worker"} & set(modules)


def test_a_policy_survives_its_journey(policy):
    kept = replace(policy, grants=[("read", "/a b")], evaluator=None)
    read = Policy.read(kept.write())
    assert replace(read, grants=[(grant, path) for grant, path in read.grants or []]) == kept


def test_without_its_evaluator_nothing_runs(policy):
    done = started(replace(policy, evaluator=1 << 22))
    assert done.returncode == 1
    assert "the evaluator is gone" in done.stderr
    assert not done.stdout


def test_a_step_that_the_kernel_refuses_ends_it(policy, tmp_path):
    missing = replace(policy, privileges=False, grants=[("read", str(tmp_path / "nothing"))])
    done = started(missing)
    assert done.returncode == 1
    assert "Error" in done.stderr
    assert not done.stdout
