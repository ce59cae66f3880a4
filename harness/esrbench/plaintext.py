"""Text from strangers, made safe to show: entries, their files, and names of images.

The result is one line of limited length. It has no control characters, direction marks, invisible
characters, lone surrogates, or workflow commands (``::error::``, ``##[group]``).
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MESSAGE_CHARACTERS = 1000
"""Most of a message, of advice and of any other text in an answer."""
LOG_LINE_CHARACTERS = 300
"""Most of a line that a worker printed."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MARKS = 4
"""Most combining marks on a letter; no script needs more, and piles of them cover other lines."""
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Characters that Python calls printable and that nobody sees."""
PLAIN = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u2013\u2020\u2021\u2022\u2080-\u208e]*")
"""Text of letters and signs that are all seen, each as wide as any other; most text is."""
_WORD = re.compile(r"(?:[\w.+\-,\[\]()%]+(?: [\w.+\-,\[\]()%]+)*)?", re.ASCII)
"""Text that ``line`` does not change: most names and figures."""
_IN_ASCII = {
    "\N{DAGGER}": "+",
    "\N{DOUBLE DAGGER}": "++",
    "\N{SECTION SIGN}": "~",
    "\N{PILCROW SIGN}": "^",
    "\N{BULLET}": "*",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{SUPERSCRIPT ONE}": "^1",
    "\N{SUPERSCRIPT TWO}": "^2",
    "\N{INFINITY}": "inf",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MICRO SIGN}": "u",
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\u2500\u2501", "-"),
}
"""Replacements of signs for terminals and pipes that take only ASCII."""
_BELOW = re.compile("[\u2080-\u2089\u208b]+")
_LEVEL = str.maketrans(
    "\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089\u208b", "0123456789-"
)
_COMMAND = re.compile(r"(?<!\w):{2,}|#{2,}(?=\w*\[)")
"""Text that begins a command of a CI runner.

GitHub Actions reads ``::name::`` after any indent; a name such as ``aten::add`` is none. Its older
form, ``##[name]``, counts anywhere in a line, and so do those of Azure and TeamCity.
"""


def line(text: str, limit: int = MESSAGE_CHARACTERS) -> str:
    """A text as one line.

    Args:
        text: anything, also with line breaks.
        limit: most characters that are kept; dots stand for the rest.
    """
    if len(text) <= limit and _WORD.fullmatch(text):
        return text
    flat = _COMMAND.sub(lambda found: " ".join(found[0]), visible(" ".join(text.split())))
    return flat if len(flat) <= limit else f"{flat[: max(limit - 3, 0)]}..."


def shortened(name: str, most: int) -> str:
    """A name of at most so many characters, the last of which is an ellipsis where it was cut."""
    return name if len(name) <= most else f"{name[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def in_ascii(text: str) -> str:
    """A text in ASCII: subscripts behind ``_``, letters without accents, else ``?``.

    No sign becomes a colon or a number sign that was none: they would make commands.
    """
    if text.isascii():
        return text
    level = _BELOW.sub(lambda found: "_" + found[0].translate(_LEVEL), text)
    return "".join(each if each.isascii() else _letter(each) for each in level)


def _letter(sign: str) -> str:
    base = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()
    return _IN_ASCII.get(sign) or (base if base.isalpha() else "?")


def plural(count: int, noun: str) -> str:
    """A number with its noun: ``1 image``, ``2 images``, ``2 entries``, ``2 passes``."""
    if count == 1:
        return f"1 {noun}"
    ending = "ies" if noun.endswith("try") else "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun.removesuffix('y') if ending == 'ies' else noun}{ending}"


def series(words: Iterable[str]) -> str:
    """Words as a sentence lists them: ``a``, ``a and b``, ``a, b and c``."""
    *before, last = words
    return f"{', '.join(before)} and {last}" if before else last


def sentence(text: str) -> str:
    """A text that ends as a sentence does: with a full stop, unless it ends with a mark."""
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


def lines(text: str, limit: int = LOG_LINE_CHARACTERS) -> str:
    """A text of several lines, each as ``line`` makes it."""
    return "\n".join(line(each, limit) for each in text.split("\n"))


def plain(value: Any) -> Any:
    """A JSON value with every string in it, keys included, as ``line`` makes it."""
    if isinstance(value, str):
        return line(value)
    if isinstance(value, dict):
        return {plain(name): plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def visible(text: str) -> str:
    """A text with a replacement character for each that is not seen, and for piled-up marks."""
    if PLAIN.fullmatch(text):
        return text
    shown: list[str] = []
    marks = 0
    for character in _INVISIBLE.sub(_REPLACEMENT, text):
        marks = marks + 1 if unicodedata.category(character) in {"Mn", "Me"} else 0
        if marks <= _MARKS:
            shown.append(character if character.isprintable() else _REPLACEMENT)
    return "".join(shown)


def relative(text: str, folders: Iterable[str]) -> str:
    """A text in which paths below some folders are as seen from these.

    Args:
        text: a path, or a message that holds paths.
        folders: absolute paths; the deepest goes first.
    """
    for folder in sorted((str(each).rstrip("/") for each in folders), key=len, reverse=True):
        if folder:
            text = re.sub(rf"(?<![\w./-]){re.escape(folder)}/", "", text)
    return text
