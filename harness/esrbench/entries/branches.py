"""The network that a branch of a challenge's ``select_model`` builds, found by reading."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ast
    from collections.abc import Mapping, Sequence

    from esrbench.entries.script import Question


class Unknown(Enum):
    """The value of what reading does not tell."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Imported:
    """The target of an import statement, such as ``models.team07.Net``."""

    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of a weights file, or of one of its keys; or a state dict that is made of it.

    Attributes:
        file: in the repository.
        key: names of the levels, joined by dots; empty for the file itself.
        line: where the file is read.
    """

    file: str
    key: str = ""
    line: int = 0


@dataclass(slots=True, eq=False)
class Network:
    """A network that a branch builds.

    Attributes:
        target: dotted name of the class or function that is called.
        arguments: by position; ``UNKNOWN`` or ``Imported`` where no literal is given.
        keywords: by name, likewise.
        statement: in which it is called.
        loaded: whether the branch loads weights into it.
        weights: where they come from, if reading tells.
        keys: under which the branch looks for them, in order; empty for the file itself.
        strict: whether surplus and missing names are errors.
        precision: ``fp32``, or ``fp16`` or ``bf16`` if the branch converts it.
        steps: statements that may change it, in order.
        early: whether one of them comes before the weights.
    """

    target: str
    arguments: Sequence[Any]
    keywords: Mapping[str, Any]
    statement: ast.stmt
    loaded: bool = False
    weights: Stored | None = None
    keys: tuple[str, ...] = ()
    strict: bool = True
    precision: str = "fp32"
    steps: list[ast.stmt] = field(default_factory=list)
    early: bool = False


@dataclass(frozen=True, slots=True)
class ExtensionBuild:
    """An extension that a branch builds: its folder, and ``setup.py`` with arguments."""

    folder: str
    command: str


@dataclass(frozen=True, slots=True)
class Branch:
    """What a branch does.

    Attributes:
        number: of the team.
        line: where the branch begins.
        name: of the entry, as the branch gives it.
        data_range: value of white.
        tile: side of tiles, or None.
        network: None where none is built, or reading does not tell which.
        withheld: the branch is empty.
        statements: that run for this team, but those that select it.
        modules: that the branch imports.
        files: of the repository that it names.
        build: an extension that it builds.
        questions: what could not be told.
    """

    number: int
    line: int
    name: str | None
    data_range: float | None
    tile: int | None
    network: Network | None
    withheld: bool
    statements: tuple[ast.stmt, ...]
    modules: tuple[str, ...]
    files: tuple[str, ...]
    build: ExtensionBuild | None
    questions: tuple[Question, ...]
