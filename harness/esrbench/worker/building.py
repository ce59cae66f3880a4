"""Compile the sources of an entry; this part runs in a worker.

Runs in every interpreter that a worker may have: Python 3.8, torch 1.13, numpy and nothing else.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from esrbench.entries.targets import CACHES
from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import SimpleNamespace

OUTPUT_LINES = 3
"""Number of last output lines that the error of a failed build quotes; the log has all of them."""


def build_modules(request: SimpleNamespace) -> tuple[dict[str, Any], bytes]:
    """Compile modules with a submission's script, in a copy of its folder.

    Args:
        request: ``Build``.

    Returns:
        ``Built``, and the content of all modules, one after the other.

    Raises:
        MeasurementError: the build failed, or made no module.
    """
    made = build_copy(Path(request.folder), request.words)
    files = [[name, len(content)] for name, content in made.items()]
    return {"event": "built", "files": files}, b"".join(made.values())


def is_module(name: str) -> bool:
    """Whether a path names a compiled module and stays within its folder."""
    path = PurePosixPath(name)
    safe = not path.is_absolute() and ".." not in path.parts and str(path) == name
    return safe and "\\" not in name and name.endswith(tuple(EXTENSION_SUFFIXES))


def build_copy(folder: Path, words: Sequence[str]) -> dict[str, bytes]:
    """Run a script in a copy of a submission's folder; in a worker only.

    Args:
        folder: folder of the submission.
        words: path of the script in this folder, and its arguments; it runs in its own folder.

    Returns:
        Content of the compiled modules that the script made beside the sources, by path.

    Raises:
        MeasurementError: the build failed, or made no module.
    """
    command = shlex.join(words)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / folder.name
        shutil.copytree(folder, copy, symlinks=True, ignore=shutil.ignore_patterns(*CACHES))
        script = copy / words[0]
        done = subprocess.run(  # noqa: S603 - confined by the sandbox
            [sys.executable, script.name, *words[1:]],
            check=False,
            cwd=script.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        sys.stdout.write(done.stdout)
        if done.returncode:
            last = " / ".join(done.stdout.strip().splitlines()[-OUTPUT_LINES:])
            message = f"the build `{command}` failed: {last or f'exit code {done.returncode}'}"
            raise MeasurementError(message, advice="Correct model.build, or its sources.")
        made = {
            name: path.read_bytes()
            for path in sorted(copy.rglob("*"))
            if is_module(name := path.relative_to(copy).as_posix())
            and path.is_file()
            and not path.is_symlink()
            and "build" not in path.relative_to(copy).parts
            and not (folder / name).exists()
        }
    if not made:
        message = f"the build `{command}` made no module beside its sources"
        raise MeasurementError(message, advice="Build in place: setup.py build_ext --inplace.")
    return made
