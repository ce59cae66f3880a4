"""Topics of ``esrbench help``: pages, notices, statuses, metrics, terms and commands."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import UsageError, did_you_mean
from esrbench.manual.messages import NOTICES, STATUSES
from esrbench.manual.reference import PARTS, explanation, filled_in, metric
from esrbench.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DIRECTIVE = re.compile(r"^```\{.*?^```\n", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"^<!--.*?-->\n?", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^\]]+)\]\((?:[\w.-]+/)*([\w-]+)\.md(?:#[\w-]+)?\)")
_TERM = re.compile(r"^(\S.*)\n: (.+(?:\n  .+)*)", re.MULTILINE)


def folder() -> Path:
    """The folder of the pages: in an installed distribution, or in a checkout."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "docs"
    return packaged if packaged.is_dir() else package.parents[1] / "docs"


def pages() -> dict[str, Path]:
    """Pages by topic, which is the name of the file without its suffix."""
    found = [page for page in sorted(folder().rglob("*.md")) if page.stem != "index"]
    return {page.stem: page for page in found if page.parent.name != "decisions"}


def title(page: Path) -> str:
    """The first heading of a page."""
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def read_page(page: Path) -> str:
    """A page as plain Markdown, without the syntax of Sphinx."""
    text = filled_in(page.read_text(encoding="utf-8"), PARTS)
    text = _COMMENT.sub("", _DIRECTIVE.sub("", text))
    return _TERM.sub(r"**\1**: \2", _LINK.sub(r"\1 (`esrbench help \2`)", text))


def find(name: str, commands: Mapping[str, str]) -> str:
    """The manual's text on a topic, in Markdown.

    Args:
        name: name of a page, notice, status, metric, term or command.
        commands: summaries of commands by name.

    Raises:
        UsageError: nothing has that name.
    """
    if page := pages().get(name.lower()):
        return read_page(page)
    kinds: list[dict[str, Callable[[], str]]] = [
        {code: partial(explanation, f"Status: {code}", STATUSES[code]) for code in STATUSES},
        {code: partial(explanation, f"Notice: {code}", NOTICES[code]) for code in NOTICES},
        {key: partial(metric, row) for row in METRICS.values() for key in (row.key, row.label)},
        {term: partial("## {}\n\n{}\n".format, term, text) for term, text in _terms().items()},
        {verb: partial(_command, verb, commands[verb]) for verb in commands},
    ]
    topics = [{topic.lower(): made for topic, made in kind.items()} for kind in kinds]
    found = [kind[name.lower()]() for kind in topics if name.lower() in kind]
    if not found:
        near = did_you_mean(name, [*pages(), *(topic for kind in topics for topic in kind)])
        raise UsageError(f"no topic {name!r}", advice=f"{near}`esrbench help` lists the pages.")
    return "\n".join(found)


def _terms() -> dict[str, str]:
    """Terms of the glossary and what they mean."""
    found = _TERM.findall(_LINK.sub(r"\1", pages()["glossary"].read_text(encoding="utf-8")))
    return {term: " ".join(text.split()) for term, text in found}


def _command(name: str, summary: str) -> str:
    return f"## esrbench {name}\n\n{summary}\n\n`esrbench {name} --help` lists its options.\n"
