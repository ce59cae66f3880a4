"""``challenge.toml``: a whole challenge in one file.

Unknown keys are errors. ``docs/organising.md`` explains every field, and ``json_schema`` is for
editors and other tools.
"""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from esrbench.data.declarations import DATASETS
from esrbench.engines.settings import EngineSettings  # noqa: TC001 - pydantic reads it at runtime
from esrbench.entries.descriptor import Precision  # noqa: TC001 - pydantic reads it at runtime
from esrbench.errors import DataError, EsrbenchError
from esrbench.fields import written_problems
from esrbench.files import replace_file
from esrbench.protocol import Frozen, Protocol
from esrbench.ranking.rule import Name, Rule  # noqa: TC001 - likewise
from esrbench.ranking.rules import RULES, get_rule
from esrbench.records import Sha256  # noqa: TC001 - pydantic reads it at runtime
from esrbench.reports.formats import format_names
from esrbench.sandbox.tiers import isolation_choices

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

FILE_NAME: Final = "challenge.toml"
MAX_FILE_BYTES: Final = 2**20
ADVICE: Final = (
    "`esrbench help challenge-file` explains every field; `esrbench init-challenge` writes a file."
)
OWN_RULE: Final = "custom"
"""Name of a rule that stands in the file itself without a name."""

Text = Annotated[str, Field(min_length=1)]
Moment = Annotated[
    datetime,
    BeforeValidator(lambda said: datetime.fromisoformat(said) if isinstance(said, str) else said),
]
"""A date, with or without a time of day."""


class DataTable(Frozen):
    """A table of ``[[data]]``: one data set.

    Attributes:
        name: name of a declared data set, or any other name for your own images.
        folder: folder of its images, relative to the file; leave it out for a declared data set in
            the cache.
        digest: SHA-256 over all pixels, as in records. It is written at first use if neither this
            field nor the declaration says which images are meant.
        hidden: names and scores of its images are never published.
    """

    name: Name
    folder: Text | None = None
    digest: Sha256 | None = None
    hidden: bool = False

    @model_validator(mode="after")
    def _found(self) -> Self:
        if self.folder is None and self.name not in DATASETS:
            message = f"folder: required, because no data set is declared as {self.name!r}"
            raise ValueError(message)
        return self


class OutputsTable(Frozen):
    """``[outputs]``: what is written after every run.

    Attributes:
        folder: where the files go, relative to the challenge's file.
        page: write one HTML file for each board.
        tables: formats of tables; each board gets one file in each format.
    """

    folder: Text = "board"
    page: bool = True
    tables: tuple[str, ...] = ("markdown", "csv")

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = [name for name in format_names() if name != "terminal"]
        unknown = [name for name in self.tables if name not in known]
        if unknown:
            message = f"tables: no format is called {', '.join(unknown)}; known are "
            raise ValueError(message + ", ".join(known))
        return self


class CodabenchTable(Frozen):
    """``[codabench]``: further settings for a competition on Codabench.

    Attributes:
        docker_image: address of an image with esrbench in it, which Codabench's workers can pull.
        queue: queue of your own workers, by its Vhost.
        takes: what participants submit: SR images of the data sets that are not hidden, code, or
            images in a first phase and code in a second one.
        start: start of the first phase, in UTC unless it names a time zone; today if left out.
        code_start: start of the phase for code, if images come first; 30 days later if left out.
        end: end of the last phase; no end if left out.
        seconds: time limit for each step of a submission on a data set.
        submissions_a_day: limit for each participant.
        terms: Markdown file, relative to the challenge's file.
        logo: PNG file, relative to the challenge's file.
    """

    docker_image: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    queue: Text | None = None
    takes: Annotated[tuple[Literal["images", "code"], ...], Field(min_length=1, max_length=2)] = (
        "images",
        "code",
    )
    start: Moment | None = None
    code_start: Moment | None = None
    end: Moment | None = None
    seconds: Annotated[int, Field(gt=0)] = 3600
    submissions_a_day: Annotated[int, Field(gt=0)] = 5
    terms: Text | None = None
    logo: Text | None = None


class Challenge(Frozen):
    """The whole of ``challenge.toml``. Paths in it are relative to its folder.

    Attributes:
        schema: version of this file's format.
        title: title of the challenge, for its pages.
        rule: an edition by name, a rule in TOML by its path, or a table with your own rule. The
            edition that ``like`` names supplies the fields that the table leaves out.
        scale: upscaling factor.
        data: the data sets, in the order of the boards.
        entries: registered names, and paths or globs of submissions' folders.
        baseline: entry that runs in every round and that scores are relative to; the rule's
            baseline if left out.
        replicates: fresh processes that time each entry; 0 for no runtimes.
        classes: precisions that entries may declare; all if left out.
        environments: interpreter, or environment of ``esrbench env``, by name of the entry or by
            a pattern, such as ``team*``.
        isolation: sandbox of entries, as for ``esrbench run --isolation``.
        order_seed: seed of the random order of entries in each round.
        results: folder of records.
        engine: where entries run; this process if left out.
        protocol: how everything is measured.
        outputs: what is written after every run.
        codabench: further settings for ``esrbench codabench``.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    title: Text
    rule: Rule
    scale: Annotated[int, Field(gt=0, le=16)] = 4
    data: Annotated[tuple[DataTable, ...], Field(min_length=1)]
    entries: Annotated[tuple[Text, ...], Field(min_length=1)]
    baseline: Text | None = None
    replicates: Annotated[int, Field(ge=0)] = 5
    classes: tuple[Precision, ...] = ()
    environments: dict[Text, Text] = {}
    isolation: Text = "auto"
    order_seed: Annotated[int, Field(ge=0)] = 0
    results: Text = "results"
    engine: EngineSettings | None = None
    protocol: Protocol = Protocol()
    outputs: OutputsTable = OutputsTable()
    codabench: CodabenchTable = CodabenchTable()

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        names = [each.name for each in self.data]
        if len(set(names)) < len(names):
            raise ValueError("data: expected each name once")
        if self.isolation not in isolation_choices():
            message = f"isolation: expected one of {', '.join(isolation_choices())}"
            raise ValueError(message)
        return self

    @property
    def measured_by(self) -> Protocol:
        """The protocol with its replicates."""
        latency = self.protocol.latency
        if latency is not None and self.replicates:
            latency = latency.model_copy(update={"processes": self.replicates})
        return self.protocol.model_copy(update={"latency": latency if self.replicates else None})

    def ranked_by(self, baseline: str | None, entries: Collection[str]) -> tuple[Rule, str | None]:
        """The rule of a board, and the entry whose runtime replaces that of the rule's baseline.

        Args:
            baseline: name of the entry that ran in every round.
            entries: names on the board.

        Returns:
            The entry is None if the rule's own baseline is used. If the challenge's baseline is
            not on the board, for example in another class, the rule names it and there are no
            scores.
        """
        rule, own = self.rule, self.rule.baseline
        scored = any(track.formula.reference == "baseline" for track in rule.tracks)
        if not scored or own is None or baseline in {None, own.entry}:
            return rule, None
        if baseline in entries:
            return rule, baseline
        moved = own.model_copy(update={"entry": baseline})
        return rule.model_copy(update={"baseline": moved}), None


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``challenge.toml``."""
    schema = Challenge.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    own = schema["$defs"]["Rule"]
    own["properties"]["like"] = {"type": "string", "enum": list(RULES)}
    own["required"] = []  # an edition may supply them
    schema["properties"]["rule"] = {"anyOf": [{"type": "string"}, schema["properties"]["rule"]]}
    return schema


def read_challenge(path: Path) -> Challenge:
    """Read and check a challenge.

    Raises:
        DataError: it is missing, too large or not TOML, or fields are wrong; every wrong field is
            named, with what was expected.
    """
    try:
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            message = f"{path}: {size} bytes, expected {MAX_FILE_BYTES} or fewer"
            raise DataError(message, advice=ADVICE)
        content = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not valid TOML: {error}"
        raise DataError(f"{path}: {reason}", advice=ADVICE) from error
    problems: list[str] = []
    latency = _at(content, "protocol", "latency")
    if isinstance(latency, dict) and "processes" in latency:
        problems.append("protocol.latency.processes: write replicates = N at the top instead")
    try:
        whole = content | ({"rule": _rule(content, path)} if "rule" in content else {})
        # Read as JSON, because strict reading of Python objects would refuse lists for tuples.
        challenge = Challenge.model_validate_json(json.dumps(whole, default=str), strict=True)
    except ValidationError as error:
        problems += written_problems(error, whole, Challenge)
    except EsrbenchError as error:
        told = error.problems if isinstance(error, DataError) else ()
        problems.append(f"rule: {'; '.join([error.message, *told])}. {error.advice or ''}".strip())
    else:
        if not problems:
            return challenge
    raise DataError(f"{path}: the challenge file has mistakes", problems, advice=ADVICE)


def _at(content: object, *keys: str) -> object:
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _rule(content: Mapping[str, Any], path: Path) -> object:
    """The rule as a document, whether it is a name, a path or a table; anything else as it is.

    Raises:
        EsrbenchError: no such edition or file, or the file is not a rule.
    """
    given = content["rule"]
    if isinstance(given, str):
        file = path.parent / given
        is_file = given not in RULES and (given.endswith(".toml") or file.is_file())
        return get_rule(str(file) if is_file else given).model_dump(mode="json")
    if not isinstance(given, dict):
        return given
    own = {key: value for key, value in given.items() if key != "like"}
    if own.get("name") in RULES:
        message = f"rule.name: {own['name']} is the name of an edition"
        raise DataError(message, advice="Choose another name, or leave it out.")
    like: dict[str, Any] = {}
    if "like" in given:
        like = get_rule(str(given["like"])).model_dump(mode="json")
    return like | {"name": OWN_RULE, "title": content.get("title")} | own


def pin(path: Path, digests: Mapping[str, str]) -> None:
    """Write digests of data sets into a challenge's file; its comments and order stay.

    Args:
        path: file of a challenge that can be read.
        digests: ``DataIdentity.digest`` by name of the data set.

    Raises:
        DataError: the file cannot be written; the advice says what to write.
    """
    import tomlkit

    document = tomlkit.parse(path.read_bytes().decode())
    said = f"pinned at first use, {datetime.now(UTC):%Y-%m-%d}: no official hash is known"
    for table in document["data"]:
        if table["name"] in digests:
            table["digest"] = tomlkit.string(digests[table["name"]]).comment(said)
    try:
        replace_file(path, tomlkit.dumps(document).encode())
    except OSError as error:
        lines = ", ".join(f'digest = "{each}" ({name})' for name, each in digests.items())
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise DataError(message, advice=f"Write it yourself into [[data]]: {lines}.") from error
