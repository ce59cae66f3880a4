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
    """A value that cannot be found by reading."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Imported:
    """The target of an import statement, such as ``models.team07.Net``."""

    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The content of a weights file or of one of its keys, or a state dict made from it.

    Attributes:
        file: path in the repository.
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
        arguments: positional arguments: literals, ``Imported`` or ``UNKNOWN``.
        keywords: keyword arguments, with the same kinds of values.
        statement: statement that calls the target.
        loaded: whether the branch loads weights into the network.
        weights: origin of the weights, if it could be read.
        keys: keys of the file under which the branch looks for the weights, in order; empty for
            the file itself.
        strict: whether surplus and missing names are errors.
        precision: ``fp32``, or ``fp16`` or ``bf16`` if the branch converts the network.
        steps: statements that may change the network, in order.
        early: whether one of these statements comes before the weights are loaded.
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
    """The result of reading a branch.

    Attributes:
        number: number of the team.
        line: line where the branch begins.
        name: name of the entry in the branch.
        data_range: value of white.
        tile: side of tiles, or None.
        network: the network; None if the branch builds none, or it cannot be read from the code.
        withheld: the branch is empty.
        statements: statements that run for this team, without those that select it.
        modules: modules that the branch imports.
        files: files of the repository that the branch names.
        build: an extension that the branch builds.
        questions: open questions after reading.
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
