from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from esrbench.errors import UsageError
from esrbench.sandbox.interpreters import entry_interpreter, own_interpreter
from esrbench.sandbox.view import View, resolve_view

BASE = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
needs_base = pytest.mark.skipif(not BASE.is_file(), reason=f"there is no {BASE} here")


@pytest.fixture
def environment(tmp_path):
    """Makes a virtual environment with metadata of some packages and nothing else."""

    def make(**packages):
        folder = tmp_path / "env"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/python").symlink_to(BASE)
        (folder / "pyvenv.cfg").write_text(
            f"home = {BASE.parent}\ninclude-system-site-packages = false\n"
        )
        for name, version in packages.items():
            described = folder / SITE / f"{name}-{version}.dist-info"
            described.mkdir(parents=True)
            (described / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        return folder

    return make


@needs_base
@pytest.mark.parametrize("where", ["", "bin/python"])
def test_an_environment_tells_what_it_is(environment, where):
    folder = environment(torch="1.13.1+cu117", numpy="1.26.4")
    found = entry_interpreter(folder / where)
    assert dict(found.versions) == {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": "1.13.1+cu117",
        "numpy": "1.26.4",
    }
    assert not found.own
    assert own_interpreter().own
    assert found.executable == folder / "bin/python"
    assert found.packages == (folder / SITE,)
    assert not any("site-packages" in entry for entry in found.path)
    files = found.files()
    assert {folder / "bin", folder / "lib", folder / "pyvenv.cfg", BASE.resolve()} <= set(files)


@needs_base
def test_nothing_that_is_installed_there_runs(environment, tmp_path):
    folder = environment(torch="2.0", numpy="1.20")
    touched = tmp_path / "touched"
    (folder / SITE / "hook.pth").write_text(
        f"import pathlib; pathlib.Path({str(touched)!r}).touch()\n"
    )
    (folder / SITE / "sitecustomize.py").write_text(f"open({str(touched)!r}, 'w')\n")
    entry_interpreter(folder)
    assert not touched.exists()


@needs_base
@pytest.mark.parametrize(
    ("packages", "says"),
    [
        ({"numpy": "1.26"}, "torch is not installed there"),
        ({"torch": "2.0"}, "numpy is not installed there"),
        ({"torch": "1.12.1", "numpy": "1.26"}, "torch 1.12.1, expected 1.13 or newer"),
        ({"torch": "1.13.1", "numpy": "2.0"}, "torch 1.13.1 cannot exchange arrays with numpy 2.0"),
        ({"torch": "soon", "numpy": "2.0"}, "torch is not installed there"),
    ],
)
def test_an_environment_that_cannot_run_entries_is_refused(environment, packages, says):
    with pytest.raises(UsageError, match=says) as caught:
        entry_interpreter(environment(**packages))
    assert caught.value.advice


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (None, "this Python cannot be started: No such file"),
        ("#!/bin/sh\necho hello\n", "not a Python 3.8 or newer"),
        ("#!/bin/sh\necho '\033[2J::error::x' >&2; exit 3\n", "not a Python 3.8 or newer"),
        ('#!/bin/sh\necho \'{"python": "3.7.16"}\'\n', "Python 3.7.16, expected 3.8 or newer"),
    ],
)
def test_what_is_no_python_of_today_is_refused_in_words(tmp_path, script, says):
    program = tmp_path / "python"
    if script is not None:
        program.write_text(script)
        program.chmod(0o755)
    with pytest.raises(UsageError, match=says) as caught:
        entry_interpreter(program)
    assert caught.value.message.isprintable()
    assert str(program) in caught.value.message


@needs_base
def test_a_worker_sees_that_environment_and_not_ours(environment):
    folder = environment(torch="2.0", numpy="1.20")
    visible = resolve_view(View(readable=(), interpreter=entry_interpreter(folder)))
    assert folder / "bin" in visible.programs
    ours = Path(sysconfig.get_paths()["purelib"])
    shown = [path for path in (*visible.programs, *visible.readable) if path.exists()]
    if not ours.is_relative_to(BASE.parents[1]):
        assert not any(ours == path or ours.is_relative_to(path) for path in shown)
    assert all(Path(entry).is_absolute() for entry in visible.path)
