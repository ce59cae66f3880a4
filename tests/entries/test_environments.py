"""Environments of entries: made by uv from wheels that lie in a folder, without any index."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

from esrbench.entries import environments
from esrbench.entries.environments import (
    create_environment,
    environment_python,
    list_environments,
    read_requirements,
    remove_environment,
)
from esrbench.errors import UsageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("ESRBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_wheel(folder, name, version):
    """A distribution with one module that knows its version."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"__version__ = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """Two wheels where uv looks, and nowhere else does it look."""
    folder = tmp_path / "wheels"
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    write_wheel(folder, "numpy", "1.26.4")
    return write_wheel(folder, "torch", "1.13.1")


@pytest.fixture
def file(tmp_path):
    """Writes a file of requirements."""

    def write(text):
        path = tmp_path / "requirements.txt"
        path.write_text(text)
        return path

    return write


PINNED = "torch == 1.13.1  # of the challenge\n\nnumpy<2\n"


def test_an_environment_holds_the_locked_wheels_and_can_be_removed(wheels, file, cache):
    made = create_environment("torch113", file(PINNED), python=sys.executable)
    assert made.packages == {"torch": "1.13.1", "numpy": "1.26.4"}
    assert made.version == sys.version.split()[0]
    assert made.interpreter == environment_python("torch113")
    said = subprocess.run(
        [made.interpreter, "-c", "import torch, numpy; print(torch.__version__, torch.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=cache,
    )
    folder = cache / "environments" / "torch113"
    assert said.stdout.startswith(f"1.13.1 {folder}/lib/")
    lock = (folder / "requirements.lock").read_text()
    assert f"sha256:{hashlib.sha256(wheels.read_bytes()).hexdigest()}" in lock
    assert list_environments() == [made]
    remove_environment("torch113")
    assert list_environments() == []
    assert [*(cache / "environments").iterdir()] == []


@pytest.mark.usefixtures("wheels")
def test_another_wheel_than_the_locked_one_is_not_installed(file, cache, monkeypatch):
    run = environments._run

    def swapped(uv, *arguments):
        if arguments[:2] == ("pip", "sync"):
            lock = environments.Path(arguments[2])
            lock.write_text(re.sub("sha256:[0-9a-f]{64}", f"sha256:{0:064}", lock.read_text()))
        run(uv, *arguments)

    monkeypatch.setattr(environments, "_run", swapped)
    with pytest.raises(UsageError, match=r"(?s)uv pip sync failed: .*[Hh]ash mismatch"):
        create_environment("torch113", file(PINNED), python=sys.executable)
    assert [*(cache / "environments").iterdir()] == []


@pytest.mark.usefixtures("wheels")
def test_sources_are_not_built(file, tmp_path, cache):
    (tmp_path / "wheels" / "evil-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(
        UsageError, match=r"(?s)uv pip compile failed: .*no usable wheels"
    ) as caught:
        create_environment("torch113", file(f"{PINNED}evil\n"), python=sys.executable)
    assert caught.value.advice is not None
    assert [*(cache / "environments").iterdir()] == []


@pytest.mark.usefixtures("wheels")
def test_what_a_worker_needs_must_be_among_the_requirements(file, cache):
    with pytest.raises(
        UsageError, match=r"requirements\.txt: the requirements lack numpy"
    ) as caught:
        create_environment("torch113", file("torch\n"), python=sys.executable)
    assert "torch 1.13 or newer and numpy" in (caught.value.advice or "")
    assert [*(cache / "environments").iterdir()] == []


def test_a_python_that_is_nowhere_is_said(file, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(UsageError, match=r"uv venv failed: .*3\.4"):
        create_environment("old", file(PINNED), python="3.4")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torch\n--index-url https://example.org\n", "line 2: '--index-url https"),
        ("-e .\n", "line 1: '-e .' is not a requirement"),
        ("# all\n\n-r other.txt\n", "line 3"),
        ("torch @ https://example.org/torch.whl\n", "line 1"),
        ("git+https://example.org/net\n", "line 1"),
        ("./torch.whl\n", "line 1"),
        ("torch\x1b[2J\n", "line 1"),
        ("# nothing\n", "the file has no requirement"),
        ("", "the file has no requirement"),
        ("x" * 70_000, "more than 65536 bytes"),
    ],
)
def test_only_plain_requirements_are_taken(text, says, file):
    with pytest.raises(UsageError, match=r"requirements\.txt: ") as caught:
        read_requirements(file(text))
    assert says in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.advice is not None


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no\.txt: No such file"):
        read_requirements(tmp_path / "no.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"binary\.txt: not a text in UTF-8"):
        read_requirements(tmp_path / "binary.txt")


@pytest.mark.parametrize("name", ["", "..", "../x", "A", "-x", "x/y", ".x", "x" * 65, "\x1b[2J"])
def test_a_name_is_no_path(name, file):
    for use in (
        environment_python,
        remove_environment,
        lambda it: create_environment(it, file(PINNED), python="3"),
    ):
        with pytest.raises(UsageError, match="is not a valid name of an environment") as caught:
            use(name)
        assert caught.value.message.isprintable()


@pytest.fixture
def uv_stands_in(monkeypatch):
    """A uv that makes what is looked at, and notes how it was called."""
    calls = []

    def run(command, **_):
        calls.append(command[1:])
        if command[1] == "venv":
            folder = environments.Path(command[command.index("--python") + 2])
            (folder / "bin").mkdir()
            (folder / "bin" / "python").symlink_to(sys.executable)
            (folder / "pyvenv.cfg").write_text("home = /usr\nversion_info = 3.9.18\n")
        if command[2] == "compile":
            lock = environments.Path(command[command.index("--output-file") + 1])
            lock.write_text("numpy==1.26.4 \\\n    --hash=sha256:0\ntorch==1.13.1 ; x\n")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(environments, "_uv", lambda: "uv")
    monkeypatch.setattr(environments.subprocess, "run", run)
    return calls


def test_uv_is_asked_for_hashes_and_wheels_alone(uv_stands_in, file):
    made = create_environment("torch113", file(PINNED), python="3.9")
    assert (made.version, made.packages["torch"]) == ("3.9.18", "1.13.1")
    venv, compiled, synced = uv_stands_in
    assert venv[venv.index("--python") + 1] == "3.9"
    assert "--generate-hashes" in compiled
    assert "--require-hashes" in synced
    for command in (compiled, synced):
        assert command[command.index("--only-binary") + 1] == ":all:"
    assert all("--no-config" in command for command in uv_stands_in)


@pytest.mark.usefixtures("uv_stands_in")
def test_a_name_is_taken_once_and_an_unknown_one_has_a_suggestion(file, cache):
    create_environment("torch113", file(PINNED), python="3.9")
    with pytest.raises(UsageError, match="an environment is already called 'torch113'"):
        create_environment("torch113", file(PINNED), python="3.9")
    with pytest.raises(UsageError, match="there is no environment 'torch131'") as caught:
        environment_python("torch131")
    assert (caught.value.advice or "").startswith("Did you mean torch113?")
    with pytest.raises(UsageError, match="there is no environment 'other'") as caught:
        remove_environment("other")
    assert caught.value.advice == "Existing environments: torch113."
    interpreter = cache / "environments" / "torch113" / "bin" / "python"
    interpreter.unlink()
    interpreter.symlink_to("/nowhere/python3.9")
    with pytest.raises(UsageError, match="is missing: /nowhere/python3"):
        environment_python("torch113")


def test_without_uv_the_extra_is_named(file, monkeypatch):
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(UsageError, match="uv, which is not installed") as caught:
        create_environment("torch113", file(PINNED), python="3.9")
    assert caught.value.advice == "pip install 'esrbench[env]'"
