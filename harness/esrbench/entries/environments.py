"""Python environments of entries: made by uv from a lock with hashes, and kept in the cache.

Installing is a command of its own and never a side effect of a run. Only wheels are used, so that
no code runs during installation. Installed packages may run code whenever the
environment's interpreter starts. So it starts only in a sandbox.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from esrbench.data.cache import cache_dir, complete_folder, usable
from esrbench.errors import UsageError
from esrbench.plaintext import line, lines

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME_PATTERN: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
NEEDED: Final = frozenset({"torch", "numpy"})
"""Distributions that every worker needs."""
MAX_REQUIREMENTS_BYTES: Final = 64 * 1024

_WISHES = "requirements.txt"
_LOCK = "requirements.lock"
_SAID_LINES = 12


@dataclass(frozen=True, slots=True)
class EntryEnvironment:
    """An environment that is complete.

    Attributes:
        name: name for commands.
        interpreter: interpreter of the environment.
        version: version of Python.
        packages: versions of installed distributions, by name.
    """

    name: str
    interpreter: Path
    version: str
    packages: dict[str, str]


def create_environment(name: str, requirements: Path, *, python: str) -> EntryEnvironment:
    """Make an environment: resolve, lock with hashes, and install the locked wheels.

    Args:
        name: name of the new environment.
        requirements: a file with one requirement a line, as for pip, without options and URLs.
        python: version (``3.9``) or path of an interpreter; uv looks for it, and may download one.

    Raises:
        UsageError: the name is taken or not valid, the file is wrong or lacks torch or numpy, or uv
            is not installed or fails; the message has its last output.
        DataError: the cache cannot be written.
    """
    folder = _folder(name)
    if folder.exists():
        message = f"an environment is already called {name!r}"
        advice = f"Choose another name, or remove it by `esrbench env remove {name}`."
        raise UsageError(message, advice=advice)
    wishes = read_requirements(requirements)
    uv = _uv()
    with usable(folder.parent), complete_folder(folder) as staging:
        (staging / _WISHES).write_text("".join(f"{wish}\n" for wish in wishes))
        interpreter = _interpreter(staging)
        target = ("--python", str(interpreter), "--only-binary", ":all:")
        _run(uv, "venv", "--relocatable", "--allow-existing", "--python", python, str(staging))
        _run(
            uv,
            *("pip", "compile", str(staging / _WISHES), "--output-file", str(staging / _LOCK)),
            *("--generate-hashes", "--no-annotate", "--no-header", *target),
        )
        missing = sorted(NEEDED - _locked(staging).keys())
        if missing:
            message = f"{requirements}: the requirements lack {' and '.join(missing)}"
            advice = (
                "An entry runs with torch 1.13 or newer and numpy: add a line for each, such as "
                "torch==1.13.1 and numpy<2."
            )
            raise UsageError(message, advice=advice)
        _run(uv, "pip", "sync", str(staging / _LOCK), "--require-hashes", *target)
    return _described(folder)


def read_requirements(path: Path) -> tuple[str, ...]:
    """The requirements in a file, without comments.

    Raises:
        UsageError: the file cannot be read, has no requirement, or a line is something else, such
            as an option, a URL or a path.
    """
    advice = (
        "Write one requirement a line, such as einops>=0.7. To use another package index, set uv's "
        "variables, such as UV_EXTRA_INDEX_URL."
    )
    try:
        if path.stat().st_size > MAX_REQUIREMENTS_BYTES:
            message = f"{path}: more than {MAX_REQUIREMENTS_BYTES} bytes"
            raise UsageError(message, advice=advice)
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text in UTF-8"
        raise UsageError(f"{path}: {reason}", advice="Check the path.") from error
    found: list[str] = []
    for number, written in enumerate(text.splitlines(), 1):
        wish = re.sub(r"(^|\s)#.*", "", written).strip()
        if not wish:
            continue
        try:
            plain = Requirement(wish)
        except InvalidRequirement:
            plain = None
        if plain is None or plain.url is not None:
            message = (
                f"{path}: line {number}: {line(wish, 80)!r} is not a requirement with a version"
            )
            raise UsageError(message, advice=advice)
        found.append(str(plain))
    if not found:
        raise UsageError(f"{path}: the file has no requirement", advice=advice)
    return tuple(found)


def environment_python(name: str) -> Path:
    """Path of an environment's interpreter, which only a sandbox may start.

    Raises:
        UsageError: there is no such environment, or its Python was removed.
    """
    folder = _folder(name)
    if not folder.is_dir():
        near = difflib.get_close_matches(name, [*_names()], n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        message = f"there is no environment {name!r}"
        advice = f"{hint}Make it by `esrbench env create {name} --python 3.9 --requirements FILE`."
        raise UsageError(message, advice=advice)
    interpreter = _interpreter(folder)
    if not interpreter.is_file():
        message = f"the Python of the environment {name!r} is missing: {interpreter.resolve()}"
        advice = f"Install it again, or run `esrbench env remove {name}` and create it again."
        raise UsageError(message, advice=advice)
    return interpreter


def list_environments() -> list[EntryEnvironment]:
    """All environments, sorted by name; no code of them is run."""
    return [_described(_folder(name)) for name in _names()]


def remove_environment(name: str) -> None:
    """Remove an environment.

    Raises:
        UsageError: there is no environment of that name.
        DataError: the environment cannot be removed.
    """
    folder = _folder(name)
    if not folder.is_dir():
        message = f"there is no environment {name!r}"
        known = ", ".join(_names()) or "none"
        raise UsageError(message, advice=f"Existing environments: {known}.")
    with usable(folder.parent):
        # Rename it first: a partly removed folder must not count as an environment.
        doomed = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
        folder.rename(doomed / name)
        shutil.rmtree(doomed)


def _folder(name: str) -> Path:
    if not re.fullmatch(NAME_PATTERN, name):
        message = f"{line(name, 80)!r} is not a valid name of an environment"
        advice = "Use lower-case letters, digits and ._- only, such as torch113."
        raise UsageError(message, advice=advice)
    return cache_dir() / "environments" / name


def _names() -> Iterator[str]:
    root = cache_dir() / "environments"
    if root.is_dir():
        yield from sorted(
            path.name for path in root.iterdir() if re.fullmatch(NAME_PATTERN, path.name)
        )


def _interpreter(folder: Path) -> Path:
    return folder / "bin" / "python"


def _described(folder: Path) -> EntryEnvironment:
    found = re.search(r"^version_info\s*=\s*(\S+)", _text(folder / "pyvenv.cfg"), re.MULTILINE)
    return EntryEnvironment(
        name=folder.name,
        interpreter=_interpreter(folder),
        version=found[1] if found else "unknown",
        packages=_locked(folder),
    )


def _locked(folder: Path) -> dict[str, str]:
    """Locked versions, by name of distribution."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", _text(folder / _LOCK), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _uv() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        message = "environments are made by uv, which is not installed"
        raise UsageError(message, advice="pip install 'esrbench[env]'") from None


def _run(uv: str, *arguments: str) -> None:
    """Run uv with no settings except its environment variables.

    Raises:
        UsageError: uv failed.
    """
    command = [uv, *arguments, "--no-config", "--no-progress"]
    done = subprocess.run(  # noqa: S603 - uv itself, no shell
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    )
    if done.returncode:
        said = lines("\n".join(done.stderr.strip().splitlines()[-_SAID_LINES:]))
        message = f"uv {' '.join(each for each in arguments[:2] if each.isalpha())} failed: {said}"
        raise UsageError(message, advice="Correct the requirements or --python.")
