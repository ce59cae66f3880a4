"""Where in an entry's code an exception came from, without the paths of this machine."""

from __future__ import annotations

import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.plaintext import relative

if TYPE_CHECKING:
    from collections.abc import Sequence

CALL = re.compile(r'File "(.+?)", line (\d+)')
"""A line of a traceback."""


def place_of(error: BaseException, folders: Sequence[str]) -> str | None:
    """The last line of an entry's code that an exception came through, as ``model.py, line 12``.

    Args:
        error: as it was caught.
        folders: absolute paths of the entry's code.

    Returns:
        None where none of it is in the traceback, or the exception tells its place itself.
    """
    if isinstance(error, SyntaxError):
        return None
    lines = [
        f"{relative(frame.f_code.co_filename, folders)}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if _within(frame.f_code.co_filename, folders)
    ]
    return lines[-1] if lines else None


def traceback_of(error: BaseException, folders: Sequence[str]) -> str:
    """The traceback of an exception from an entry's code on, with the paths that imports have.

    Args:
        error: as it was caught.
        folders: absolute paths of the entry's code.
    """
    known = [*folders, *(str(Path(each).absolute()) for each in sys.path if each)]
    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    while part is not None:
        ours = [i for i, frame in enumerate(part.stack) if _within(frame.filename, folders)]
        del part.stack[: ours[0] if ours else 0]
        for frame in part.stack:
            _ = frame.line  # read while its file can be found
            frame.filename = relative(frame.filename, known)
        part = part.__cause__ or part.__context__
    return relative("".join(told.format()).rstrip(), folders)


def _within(path: str, folders: Sequence[str]) -> bool:
    """Whether a file is an entry's own; an environment may lie beside its code."""
    if any(f"/{name}/" in path for name in ("site-packages", "dist-packages")):
        return False
    return any(path.startswith(f"{folder}/") for folder in folders)


def place_in(stack: str, folders: Sequence[str]) -> str | None:
    """The last line of an entry's code in the text of a stack, as ``place_of`` tells it.

    Args:
        stack: lines as of a traceback, ``File "...", line 12, in forward`` among them.
        folders: absolute paths of the entry's code.
    """
    found = [(path, line) for path, line in CALL.findall(stack) if _within(path, folders)]
    return f"{relative(found[-1][0], folders)}, line {found[-1][1]}" if found else None
