"""``competition.yaml``, version 2, as Codabench reads it.

Field names, required fields, lengths and choices are those of Codabench's documentation of the file
(``Yaml-Structure.md``), of its ``V2Unpacker`` and of its models and serializers, as read at commit
c7dbc756 of ``codalab/codabench``. Only the fields that ``bundle`` writes are here.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from esrbench.errors import DataError
from esrbench.fields import written_problems
from esrbench.protocol import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FILE_NAME: Final = "competition.yaml"
METADATA: Final = "metadata.yaml"
"""The file in a program's zip file that has its command."""
PNG: Final = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG file."""
DATE_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
MAX_TITLE: Final = 36
"""Characters of a column's title."""


def _date(text: str) -> str:
    try:
        datetime.strptime(text, DATE_FORMAT)  # noqa: DTZ007 - Codabench takes it for UTC
    except ValueError:
        raise ValueError("expected a date such as 2031-03-01 12:00:00, in UTC") from None
    return text


Line = Annotated[str, Field(min_length=1, max_length=256)]
Date = Annotated[str, AfterValidator(_date)]
"""Text in quotes: without quotes, Codabench drops the time of day."""
Index = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]
Key = Annotated[str, Field(pattern=r"^\w+$", max_length=36)]


class TextPage(Frozen):
    """A page of text beside the competition."""

    title: Line
    file: Line


class CompetitionTask(Frozen):
    """What a submission has to solve. Paths are relative to ``competition.yaml``."""

    index: Index
    name: Line
    description: str = ""
    reference_data: Line
    scoring_program: Line
    ingestion_program: Line | None = None


class Phase(Frozen):
    """A period in which submissions are accepted. The last phase may have no end."""

    index: Index
    name: Line
    description: str = ""
    start: Date
    end: Date | None = None
    tasks: Annotated[tuple[Index, ...], Field(min_length=1)]
    execution_time_limit: Positive = 600
    max_submissions_per_day: Positive = 5
    public_data: Line | None = None
    accepts_only_result_submissions: bool = False
    hide_prediction_output: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:  # as text, largest place first
            message = f"end: expected a date after the start, {self.start}"
            raise ValueError(message)
        return self


class LeaderboardColumn(Frozen):
    """A column of the leaderboard, with the key of ``scores.json`` that fills it."""

    index: Index
    key: Key
    title: Annotated[str, Field(min_length=1, max_length=MAX_TITLE)]
    sorting: Literal["asc", "desc"]
    precision: Index = 2


class Board(Frozen):
    """The leaderboard. It is sorted by its first column; the next columns break ties."""

    title: Annotated[str, Field(min_length=1, max_length=64)]
    key: Key
    submission_rule: Literal[
        "Add",
        "Add_And_Delete",
        "Add_And_Delete_Multiple",
        "Force_Last",
        "Force_Latest_Multiple",
        "Force_Best",
    ] = "Add_And_Delete"
    columns: Annotated[tuple[LeaderboardColumn, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        _require_unique("columns", [each.index for each in self.columns], "index")
        _require_unique("columns", [each.key for each in self.columns], "key")
        return self


class Competition(Frozen):
    """The whole of ``competition.yaml``."""

    version: Literal[2] = 2
    title: Line
    description: str = ""
    image: Line
    terms: Line
    docker_image: Annotated[str, Field(min_length=1, max_length=128)]
    queue: Line | None = None
    make_programs_available: Literal[False] = False
    make_input_data_available: Literal[False] = False
    pages: Annotated[tuple[TextPage, ...], Field(min_length=1)]
    tasks: Annotated[tuple[CompetitionTask, ...], Field(min_length=1)]
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]
    leaderboards: Annotated[tuple[Board, ...], Field(min_length=1, max_length=1)]

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        _require_unique("tasks", [each.index for each in self.tasks], "index")
        known = {each.index for each in self.tasks}
        if absent := [index for each in self.phases for index in each.tasks if index not in known]:
            message = f"phases: there is no task with the index {absent[0]}"
            raise ValueError(message)
        for earlier, later in pairwise(sorted(self.phases, key=lambda each: each.index)):
            if earlier.end is None or later.start <= earlier.end:
                message = f"phases: {earlier.name!r} must end before {later.name!r} starts"
                raise ValueError(message)
        return self

    @property
    def files(self) -> Iterator[tuple[str, str]]:
        """Fields that name a file of the bundle, and the file."""
        yield from (("image", self.image), ("terms", self.terms))
        yield from ((f"pages[{n}].file", page.file) for n, page in enumerate(self.pages))
        for number, task in enumerate(self.tasks):
            for field in ("reference_data", "scoring_program", "ingestion_program"):
                if (file := getattr(task, field)) is not None:
                    yield f"tasks[{number}].{field}", file
        for number, phase in enumerate(self.phases):
            if phase.public_data is not None:
                yield f"phases[{number}].public_data", phase.public_data


def _require_unique(table: str, values: Sequence[object], field: str) -> None:
    if len(set(values)) < len(values):
        message = f"{table}: expected each {field} once"
        raise ValueError(message)


def read_competition(content: object, where: str) -> Competition:
    """Check the content of a ``competition.yaml``, before or after it is written.

    Args:
        content: the parsed YAML.
        where: name of its place, for messages.

    Raises:
        DataError: Codabench would refuse it; each wrong field is named.
    """
    fields = content if isinstance(content, dict) else {}
    try:
        return Competition.model_validate(fields)
    except ValidationError as error:
        problems = written_problems(error, fields, Competition)
        message = f"{where}: Codabench would refuse this {FILE_NAME}"
        raise DataError(message, problems, advice="Correct these fields.") from None


def check_bundle(path: Path) -> Competition:
    """Check a bundle as Codabench does when it is uploaded.

    Args:
        path: the zip file.

    Raises:
        DataError: it is not a bundle, or Codabench would refuse it; each wrong field is named.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            competition = read_competition(yaml.safe_load(archive.read(FILE_NAME)), str(path))
            problems = list(_absent_files(archive, competition))
    except (OSError, KeyError, zipfile.BadZipFile, yaml.YAMLError) as error:
        message = f"{path}: not a bundle of a competition: {error}"
        raise DataError(message, advice="Write it again with `esrbench codabench`.") from error
    if problems:
        message = f"{path}: Codabench would refuse this bundle"
        raise DataError(message, problems, advice="Put these files into it, or write it again.")
    return competition


def _absent_files(archive: zipfile.ZipFile, competition: Competition) -> Iterator[str]:
    """Problems with the files that a competition names, one line each."""
    sizes = {info.filename: info.file_size for info in archive.infolist()}
    for field, name in competition.files:
        if not sizes.get(name):
            yield f"{field}: {name} is {'empty' if name in sizes else 'missing'}"
        elif field == "image" and not archive.read(name).startswith(PNG):
            yield f"{field}: {name} is not a PNG file"
        elif field.endswith("program"):
            with archive.open(name) as file, zipfile.ZipFile(file) as program:
                if METADATA not in program.namelist():
                    yield f"{field}: {name} has no {METADATA}"
