"""Parts of the manual that are made from code, in Markdown.

A page marks the place of a part by a comment such as ``<!-- made from code: metrics -->``.
"""

from __future__ import annotations

import inspect
import json
import re
from datetime import datetime
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    Literal,
    Union,
    get_args,
    get_origin,
)

from pydantic import BaseModel

from esrbench.manual.messages import NOTICES, STATUSES, Explanation
from esrbench.metrics import METRICS, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_PLACE = re.compile(r"^<!-- made from code: ([a-z]+) -->$", re.MULTILINE)
_MEANING = re.compile(r"^ {4}(\w+): (.+(?:\n {5,}.+)*)", re.MULTILINE)
_WORDS: Final = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    datetime: "date",
    NoneType: "none",
}


def filled_in(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A page with its parts from code filled in; the comment of an unknown part stays."""

    def made(found: re.Match[str]) -> str:
        return parts[found[1]]() if found[1] in parts else found[0]

    return _PLACE.sub(made, text)


def explained(messages: Mapping[str, Explanation]) -> str:
    """A section for each code."""
    return "\n".join(explanation(code, each) for code, each in messages.items())


def explanation(code: str, found: Explanation) -> str:
    """The section of one code."""
    return f"## {code}\n\n**When:** {found.when}.\n\n**To do:** {found.do}.\n"


def metrics() -> str:
    """A section for each metric."""
    return "\n".join(map(metric, METRICS.values()))


def metric(row: Metric) -> str:
    """The section of one metric."""
    depends = " and ".join({"data": "the data set", "device": "the device"}[s] for s in row.scope)
    facts = [
        f"Heading of its column: {row.heading}.",
        f"{row.better.capitalize()} is better.",
        f"It depends on the entry{f', {depends}' if depends else ' alone'}.",
        *(["It has an interval."] if row.noisy else []),
        *(["It is measured where it is asked for."] if row.on_request else []),
    ]
    return f"## {row.key}\n\n{f'{row.about} ' if row.about else ''}{' '.join(facts)}\n"


def fields(model: type[BaseModel]) -> str:
    """A table of the fields of a document, and one for every table within it."""
    paths: dict[type[BaseModel], str] = {model: ""}
    pages: list[str] = []
    while len(pages) < len(paths):
        each = list(paths)[len(pages)]
        path = paths[each]
        for name, field in each.model_fields.items():
            own = f"{path}.{field.alias or name}".lstrip(".")
            for number, inner in enumerate(_models(field.annotation)):
                paths.setdefault(inner, inner.__name__ if number else own)
        title = f"## {path}\n\n{_plain((each.__doc__ or '').partition(chr(10) * 2)[0])}\n\n"
        pages.append((title if path else "") + "".join(_field_lines(each, paths)))
    return "\n".join(pages)


def _field_lines(model: type[BaseModel], paths: Mapping[type[BaseModel], str]) -> Iterator[str]:
    told = _meanings(model)
    yield "| field | type | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else _default(field.get_default())
        kind = _kind(field.annotation, paths)
        shown = field.alias or name
        meaning = told.get(shown) or told.get(name, "")
        yield f"| `{shown}` | {kind} | {default} | {meaning} |\n"


def _meanings(model: type) -> dict[str, str]:
    """Docstrings of the fields of a model, inherited ones included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        _, _, listed = (inspect.cleandoc(each.__doc__ or "")).partition("Attributes:\n")
        found |= {name: _plain(text) for name, text in _MEANING.findall(listed)}
    return found


def _plain(text: str) -> str:
    """A docstring's text as Markdown on one line, for a cell of a table."""
    words = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    return re.sub(r"`[^`]*`|\*", lambda found: found[0] if len(found[0]) > 1 else "\\*", words)


def _models(kind: Any) -> Iterable[type[BaseModel]]:
    if isinstance(kind, type) and not get_origin(kind) and issubclass(kind, BaseModel):
        yield kind
    for part in get_args(kind):
        yield from _models(part)


def _kind(kind: Any, paths: Mapping[type[BaseModel], str]) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in paths:
        path = paths[kind]
        words = f"[{path}](#{path.replace('.', '').lower()})"
    elif origin is Annotated:
        words = _kind(parts[0], paths)
    elif origin is Literal:
        words = ", ".join(f"`{json.dumps(each)}`" for each in parts)
    elif origin is dict:
        words = f"table of {_kind(parts[1], paths)}"
    elif origin in {Union, UnionType, tuple, list}:
        kinds = dict.fromkeys(_kind(each, paths) for each in parts if each is not Ellipsis)
        words = f"{'' if origin in {Union, UnionType} else 'list of '}{' or '.join(kinds)}"
    else:
        words = _WORDS.get(kind, "value")
    return words


def _default(value: object) -> str:
    if value is None:
        return "none"
    return "as below" if isinstance(value, BaseModel) else f"`{json.dumps(value)}`"


def _manifest() -> str:
    from esrbench.entries.manifest import Manifest

    return fields(Manifest)


def _challenge() -> str:
    from esrbench.challenge.file import Challenge

    return fields(Challenge)


def _record() -> str:
    from esrbench.records import RunRecord

    return fields(RunRecord)


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "challenge": _challenge,
    "manifest": _manifest,
    "metrics": metrics,
    "notices": lambda: explained(NOTICES),
    "record": _record,
    "statuses": lambda: explained(STATUSES),
}
