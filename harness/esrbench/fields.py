"""Problems of a document that a person wrote: each field, what was found and expected."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from esrbench.errors import unknown_key
from esrbench.plaintext import line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic import ValidationError

MAX_PROBLEMS: Final = 20
"""Most problems that are listed of one document."""
_SHOWN_CHARACTERS = 60


def written_problems(
    error: ValidationError,
    content: Mapping[str, Any],
    model: type[BaseModel],
    *,
    expected: Mapping[str, str] | None = None,
) -> list[str]:
    """The fields of a TOML document that pydantic refused, one line each, in words for its author.

    An unknown key is answered with the nearest known one.

    Args:
        error: of the document.
        content: the document.
        model: which it was validated against.
        expected: by name of a field, what its pattern asks for.
    """
    found = [
        _problem(item, content, model, expected or {}) for item in error.errors()[:MAX_PROBLEMS]
    ]
    more = error.error_count() - len(found)
    return [*found, *([f"and {more} more"] if more else [])]


def _problem(
    item: Any, content: Mapping[str, Any], model: type[BaseModel], expected: Mapping[str, str]
) -> str:
    """A field and what is wrong with it, in one line."""
    field = _dotted(item["loc"], content)
    told = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing":
        told = "required, but missing"
    elif item["type"] == "extra_forbidden":
        parent, _, key = field.rpartition(".")
        return unknown_key(parent, key, _fields_at(item["loc"][:-1], model))
    elif re.split("[:.]", told)[0] in _fields_at(item["loc"], model):  # of a whole table
        return f"{field}.{told}".removeprefix(".")
    elif item["type"] == "string_pattern_mismatch":
        told = expected.get(field.rpartition(".")[2], told)
    if item["type"] != "missing" and not isinstance(item["input"], dict | list):
        shown = repr(item["input"])
        shown = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."
        told += f", not {shown}"
    return f"{field}: {told}"


def _dotted(location: Sequence[int | str], content: object) -> str:
    """A place in the document as its author would write it."""
    parts: list[str] = []
    for step in location:
        if isinstance(step, int):
            if isinstance(content, list):
                content = content[step] if step < len(content) else None
                parts[-1] += f"[{step}]"
            continue  # a single one stands for a list of one
        if step == "[key]":  # pydantic's word for a key of a table of free names
            continue
        content = content.get(step) if isinstance(content, dict) else None
        parts.append(line(step, _SHOWN_CHARACTERS))
    return ".".join(parts)


def _fields_at(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """Keys that the table at a place may have."""
    tables = [model]
    for step in location:
        inner = [
            found
            for table in tables
            if isinstance(step, str) and step in table.model_fields
            for found in models_in(table.model_fields[step].annotation)
        ]
        tables = inner or tables
    fields = (item for table in tables for item in table.model_fields.items())
    return list(dict.fromkeys(field.alias or name for name, field in fields))


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a field may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from models_in(inner)
