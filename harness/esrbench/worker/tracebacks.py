"""Find the place in an entry's code that raised an exception, without paths of this machine."""

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
"""Matches one line of a traceback."""


def place_of(error: BaseException, folders: Sequence[str]) -> str | None:
    """The last line of an entry's code that an exception came through, as ``model.py, line 12``.

    Args:
        error: the exception.
        folders: absolute paths of the entry's code.

    Returns:
        None if the traceback has no such line, or the exception names its place itself.
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
    """The traceback of an exception from the entry's code on, with paths as imports have them.

    Args:
        error: the exception.
        folders: absolute paths of the entry's code.
    """
    known = [*folders, *(str(Path(each).absolute()) for each in sys.path if each)]
    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    while part is not None:
        ours = [i for i, frame in enumerate(part.stack) if _within(frame.filename, folders)]
        del part.stack[: ours[0] if ours else 0]
        for frame in part.stack:
            _ = frame.line  # read the line now, while its file can be found
            frame.filename = relative(frame.filename, known)
        part = part.__cause__ or part.__context__
    return relative("".join(told.format()).rstrip(), folders)


def _within(path: str, folders: Sequence[str]) -> bool:
    """Whether a file is code of the entry; its folder may also contain an environment."""
    if any(f"/{name}/" in path for name in ("site-packages", "dist-packages")):
        return False
    return any(path.startswith(f"{folder}/") for folder in folders)


def place_in(stack: str, folders: Sequence[str]) -> str | None:
    """The last line of an entry's code in the text of a stack, in the form of ``place_of``.

    Args:
        stack: text with lines such as ``File "...", line 12, in forward``.
        folders: absolute paths of the entry's code.
    """
    found = [(path, line) for path, line in CALL.findall(stack) if _within(path, folders)]
    return f"{relative(found[-1][0], folders)}, line {found[-1][1]}" if found else None
