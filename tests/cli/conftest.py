"""The command, installed and in this process.

Only a process shows that what is installed starts, ends and says what it should; where that is
shown once, ``in_process`` spares another look at the same command its start.
"""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import builders
import pytest

from esrbench.cli.app import main
from esrbench.entries.registry import default_registry

WIDE = {"COLUMNS": "200"}


@pytest.fixture(scope="session")
def esrbench_in(tmp_path_factory):
    """Make ``esrbench`` run in a folder, with neither cache nor submissions of the user."""
    empty = tmp_path_factory.mktemp("empty")
    private = {"ESRBENCH_CACHE": str(empty / "cache"), "ESRBENCH_SUBMISSIONS": str(empty)}

    return lambda folder: partial(start, folder, **private)


@pytest.fixture
def work(tmp_path):
    """An empty folder to run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def esrbench(work):
    """Run ``esrbench`` in an empty folder."""
    return partial(start, work)


@pytest.fixture
def in_process(work, monkeypatch, capsys):
    """Run ``esrbench`` in an empty folder and in this process, from its entry point on."""

    def run(*arguments, code=None, **environment):
        given = ["esrbench", *map(str, arguments)]
        # It handles signals; the process of the tests goes on with its own handlers.
        numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        handlers = {number: signal.getsignal(number) for number in numbers}
        capsys.readouterr()
        # What an earlier test found registered where it ran.
        default_registry.cache_clear()
        try:
            with monkeypatch.context() as patch:
                patch.chdir(work)
                patch.setattr(sys, "argv", given)
                for name, value in {**WIDE, **environment}.items():
                    patch.setenv(name, value)
                with pytest.raises(SystemExit) as ended:
                    main()
        finally:
            default_registry.cache_clear()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        done = subprocess.CompletedProcess(given, ended.value.code, *capsys.readouterr())
        assert isinstance(done.returncode, int)
        assert code in {None, done.returncode}, done.stdout + done.stderr
        return done

    return run


def start(folder, *arguments, code=None, **environment):
    command = Path(sys.executable).with_name("esrbench")
    return builders.run(command, *arguments, code=code, folder=folder, **{**WIDE, **environment})
