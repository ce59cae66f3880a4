"""The command, installed and in this process.

Only a process shows that what is installed starts, ends and says what it should; where that is
shown once, ``in_process`` spares another look at the same command its start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from esrbench.cli.app import main
from esrbench.entries.registry import default_registry

WIDE = {"COLUMNS": "200"}


@pytest.fixture(scope="session")
def esrbench_in(tmp_path_factory):
    """Make ``esrbench`` run in a folder, with neither cache nor submissions of the user."""
    empty = tmp_path_factory.mktemp("empty")
    private = {"ESRBENCH_CACHE": str(empty / "cache"), "ESRBENCH_SUBMISSIONS": str(empty)}

    def in_folder(folder):
        def run(*arguments, **environment):
            return start(arguments, folder, {**private, **environment})

        return run

    return in_folder


@pytest.fixture
def work(tmp_path):
    """An empty folder to run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def esrbench(work):
    """Run ``esrbench`` in an empty folder."""

    def run(*arguments, **environment):
        return start(arguments, work, environment)

    return run


@pytest.fixture
def in_process(work, monkeypatch, capsys):
    """Run ``esrbench`` in an empty folder and in this process, from its entry point on."""

    def run(*arguments, **environment):
        given = ["esrbench", *map(str, arguments)]
        # It handles signals; the process of the tests goes on with its own handlers.
        handlers: dict[int, Any] = {
            number: signal.getsignal(number)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        }
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
        code = ended.value.code
        assert isinstance(code, int)
        return subprocess.CompletedProcess(given, code, *capsys.readouterr())

    return run


def start(arguments, folder, environment):
    return subprocess.run(
        [Path(sys.executable).with_name("esrbench"), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **WIDE, **environment},
    )
