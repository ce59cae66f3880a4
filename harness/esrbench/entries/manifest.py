"""``submission.toml``: a team's declaration of its entry.

It is read without importing code of the submission. Unknown keys are errors. Every field is
explained in ``docs/submitting.md``; ``submissions/submission.schema.json`` is the JSON Schema of
this model.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from esrbench.entries.descriptor import (
    MAX_TEXT_CHARACTERS,
    Argument,
    CitationKey,
    NetworkFacts,
    Scale,
    printable,
)
from esrbench.errors import RegistrationError
from esrbench.fields import written_problems
from esrbench.files import replace_file
from esrbench.plaintext import line
from esrbench.protocol import CounterName, Frozen
from esrbench.records import LoadedBy, Sha256  # noqa: TC001 - pydantic reads annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST_NAME: Final = "submission.toml"
SCHEMA_VERSION: Final = 1
MAX_MANIFEST_BYTES: Final = 64 * 1024
MAX_WEIGHTS_BYTES: Final = 512 * 2**20
MAX_SR_SIDE: Final = 4096
"""Largest allowed height and width of the SR of an entry's smallest LR image."""
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._]*-[a-z0-9][a-z0-9._-]*$"

_IDENTIFIER = r"[A-Za-z_]\w*"
_IDENTIFIERS = rf"{_IDENTIFIER}(\.{_IDENTIFIER})*"
CODE_SUFFIXES: Final = (".py", ".so", ".pyd", ".toml")
"""Suffixes of files that are hashed as code and so cannot be weights, which are hashed separately.
"""
_PATTERNS = {
    "name": "expected TEAM-NAME in lower case, such as team07-fastsr",
    "sha256": "expected 64 hexadecimal digits in lower case",
    "key": "expected letters, digits and :._+- as in liu2020rfdn",
    "scale_argument": "expected the name of a parameter, such as upscale",
}


def _target(text: str) -> str:
    module = text.rpartition(":")[0]
    if module.endswith(".py"):
        better = module.removesuffix(".py").replace("/", ".")
        message = f"name the module, not the file: {better}:{text.rpartition(':')[2]}"
        raise ValueError(message)
    if not re.fullmatch(rf"{_IDENTIFIERS}:{_IDENTIFIERS}", text, re.ASCII):
        message = "expected module:attribute, such as model:Network"
        raise ValueError(message)
    return text


def _deploy(text: str) -> str:
    if ":" not in text and not re.fullmatch(_IDENTIFIER, text, re.ASCII):
        message = "expected the name of a method, or module:function"
        raise ValueError(message)
    return _target(text) if ":" in text else text


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    whole = str(path) == text and path.name and not path.is_absolute()
    if not whole or ".." in path.parts or "\\" in text:
        message = "expected the path of a file in this folder, such as weights.safetensors"
        raise ValueError(message)
    if path.suffix in CODE_SUFFIXES:
        message = f"expected weights, not a {path.suffix} file"
        raise ValueError(message)
    return text


def _build(text: str) -> str:
    try:
        script = PurePosixPath(next(iter(shlex.split(text)), ""))
    except ValueError:  # a quotation mark is missing
        script = PurePosixPath()
    if script.is_absolute() or ".." in script.parts or script.suffix != ".py":
        message = "expected a Python script in this folder and its arguments, such as "
        message += "setup.py build_ext --inplace"
        raise ValueError(message)
    return text


def _requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        requirement = None
    if requirement is None or requirement.url is not None:
        message = "expected a name and a version as for pip, such as einops>=0.7"
        raise ValueError(message)
    return text


def _once_each(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        message = "expected each value once"
        raise ValueError(message)
    return values


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict | str) else value


Line = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS), AfterValidator(printable)]
Text = Annotated[Line, Field(min_length=1)]
ClaimedCount = Annotated[float, Field(ge=0, le=1e18)]
"""Largest claim of parameters, multiply-accumulates or activations; the largest networks have 1e15.
"""
Target = Annotated[Line, AfterValidator(_target)]


class ModelTable(NetworkFacts):
    """``[model]``: how the network is built, and the form of its input.

    Attributes:
        name: name of the folder and of the entry: ``TEAM-NAME`` in lower case.
        kwargs: keyword arguments of the factory, in addition to a list of ``arguments``.
        requirements: distributions in addition to torch and numpy, as for pip. They are compared
            with the installed ones, and never installed.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN, max_length=64)]
    summary: Line = ""
    scales: Annotated[tuple[Scale, ...], Field(min_length=1), AfterValidator(_once_each)]
    factory: Target
    options: Annotated[dict[Line, Argument], Field(max_length=256, alias="kwargs")] = {}
    prepare: Target | None = None
    deploy: Annotated[Line, AfterValidator(_deploy)] | None = None
    build: Annotated[Text, AfterValidator(_build)] | None = None
    pure_torch: Target | None = None
    requirements: Annotated[
        tuple[Annotated[Line, AfterValidator(_requirement)], ...],
        Field(max_length=64),
        AfterValidator(_once_each),
    ] = ()


class WeightsTable(Frozen):
    """``[weights]``, or one of several ``[[weights]]``: a file in the folder and its layout.

    Attributes:
        scale: upscaling factor of the file; required if there are several files.
        file: path in the folder; its content, not its name, decides how it is read.
        bytes: exact size.
        sha256: digest of the file; checked before every use.
        key: name under which the state dict is nested, with levels joined by dots. Of several
            names, the first existing one counts. If left out, esrbench searches for it.
        prefix: prefix of the names of the network's weights; if left out, esrbench searches.
        ignore: patterns of surplus names that are allowed.
        loaded_by: ``factory`` if the factory loads the file itself.
        renames: parts of names to replace, as theirs = ours.
    """

    scale: Scale | None = None
    file: Annotated[Text, AfterValidator(_inside)]
    bytes: Annotated[int, Field(gt=0, le=MAX_WEIGHTS_BYTES)]
    sha256: Sha256
    key: Annotated[tuple[Line, ...], BeforeValidator(_as_list), Field(max_length=16)] = ()
    prefix: Line | None = None
    ignore: Annotated[tuple[Text, ...], Field(max_length=256)] = ()
    loaded_by: LoadedBy | None = None
    renames: Annotated[dict[Text, Text], Field(max_length=1000)] = {}


class PaperTable(Frozen):
    """``[team.paper]``: where the network was published.

    Attributes:
        title: title of the paper.
        venue: where it was published.
        year: year of publication.
        url: address of the paper.
        key: key for LaTeX's ``cite`` command.
    """

    title: Text
    venue: Text
    year: Annotated[int, Field(ge=1960, le=2100)]
    url: Text | None = None
    key: CitationKey | None = None


class TeamTable(Frozen):
    """``[team]``: the people behind the entry.

    Attributes:
        name: name of the team in lists.
        contact: a person or address for questions about the entry.
        licence: licence of code and weights.
        paper: publication of the network.
    """

    name: Text
    contact: Text
    licence: Text = "unstated"
    paper: PaperTable | None = None


class PsnrClaim(Frozen):
    """One of ``[[claims.psnr]]``: a score on a data set.

    Attributes:
        db: PSNR in dB.
        data: name of the data set.
        channel: ``y`` for luma.
    """

    db: Annotated[float, Field(gt=0, le=100)]
    data: Text
    channel: Literal["rgb", "y"] = "rgb"


class RuntimeClaim(Frozen):
    """``[claims.runtime]``: mean time per image of a data set on a device.

    Attributes:
        milliseconds: mean time per image.
        device: device that measured it.
        data: name of the data set.
    """

    milliseconds: Annotated[float, Field(ge=1e-6, le=1e9)]
    device: Text
    data: Text | None = None


class ClaimsTable(Frozen):
    """``[claims]``, or one of several ``[[claims]]``: figures to compare with measured ones.

    Attributes:
        scale: upscaling factor of the claims; required if there are several.
        params: number of parameters.
        flops: number of multiply-accumulates at LR 256x256.
        flops_counter: counter of ``flops``; both or neither are given.
        activations: number of outputs of convolutions at LR 256x256, by ``ntire2022``, or by
            ``aten`` if that is the counter.
        psnr: scores on data sets.
        runtime: mean time per image.
    """

    scale: Scale | None = None
    params: ClaimedCount | None = None
    flops: ClaimedCount | None = None
    flops_counter: CounterName | None = None
    activations: ClaimedCount | None = None
    psnr: Annotated[tuple[PsnrClaim, ...], BeforeValidator(_as_list), Field(max_length=64)] = ()
    runtime: RuntimeClaim | None = None


class Manifest(Frozen):
    """The whole of ``submission.toml``.

    Attributes:
        schema: version of this table.
        model: the network.
        weights: weights files; leave the table out for a network without parameters.
        team: the people behind the entry.
        claims: figures that the team claims.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    model: ModelTable
    weights: Annotated[tuple[WeightsTable, ...], BeforeValidator(_as_list)] = ()
    team: TeamTable
    claims: Annotated[tuple[ClaimsTable, ...], BeforeValidator(_as_list)] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field, problem in self._problems():
            # The text before the colon is the field: pydantic names none for a whole model.
            message = f"{field}: {problem}"
            raise ValueError(message)
        return self

    def _problems(self) -> Iterator[tuple[str, str]]:
        model = self.model
        side = model.min_lr_size * max(model.scales)
        if side > MAX_SR_SIDE:
            told = f"SR of the smallest image has {side}x{side} pixels"
            yield "model.min_lr_size", f"{told}, expected at most {MAX_SR_SIDE}x{MAX_SR_SIDE}"
        for name, tables in (("weights", self.weights), ("claims", self.claims)):
            scales = [self.scale_of(table) for table in tables]
            if None in scales:
                yield f"{name}.scale", f"required, as model.scales are {list(model.scales)}"
            elif len(set(scales)) < len(scales) or not set(scales) <= set(model.scales):
                told = f"{scales}, expected at most one for each of {list(model.scales)}"
                yield f"{name}.scale", told
        for claims in self.claims:
            scores = [(claim.data, claim.channel) for claim in claims.psnr]
            if len(set(scores)) < len(scores):
                yield "claims.psnr", "expected one for each data set and channel"
            if (claims.flops is None) is not (claims.flops_counter is None):
                yield "claims.flops_counter", "give both flops and flops_counter, or neither"

    def scale_of(self, table: WeightsTable | ClaimsTable) -> int | None:
        """The scale that a table is for: its own, or the network's only one."""
        if table.scale is not None or len(self.model.scales) > 1:
            return table.scale
        return self.model.scales[0]


def json_schema() -> dict[str, Any]:
    """JSON Schema of ``submission.toml``, for editors and other tools."""
    schema = Manifest.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    claims = schema["$defs"]["ClaimsTable"]
    weights = schema["$defs"]["WeightsTable"]
    places = ((schema, "weights"), (schema, "claims"), (claims, "psnr"), (weights, "key"))
    for fields, name in places:
        # A single table is allowed instead of a list with one table.
        several = fields["properties"][name]
        fields["properties"][name] = {"anyOf": [several["items"], several]}
    return schema


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        RegistrationError: the file is missing, too large, not TOML, or has wrong fields; the
            message names all of them, with what was expected.
    """
    try:
        if not path.is_file():
            message = f"{path}: there is no such file"
            raise RegistrationError(message, advice="`esrbench new TEAM-NAME` writes one.")
        size = path.stat().st_size
        if size > MAX_MANIFEST_BYTES:
            message = f"{path}: {size} bytes, expected {MAX_MANIFEST_BYTES} or fewer"
            raise RegistrationError(
                message,
                advice="A manifest contains only declarations; move other data to other files.",
            )
        content = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        reason = (
            error.strerror if isinstance(error, OSError) else f"not valid TOML: {line(str(error))}"
        )
        message = f"{path}: {reason}"
        raise RegistrationError(message, advice="Correct the file at that line.") from error
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(written_problems(error, content, Manifest, expected=_PATTERNS))
        advice = f"Correct {MANIFEST_NAME}: `esrbench help manifest` explains every field."
        raise RegistrationError(f"{path}: {problems}", advice=advice) from None


def told(fields: Mapping[str, int | str]) -> str:
    """Fields as TOML on one line, with commas."""
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())


def write_fields(path: Path, fields: Mapping[str, int | str], scale: int) -> None:
    """Set fields of ``[model]`` and ``[weights]`` in a manifest; its comments and order stay.

    Args:
        path: path of a valid manifest.
        fields: values by name.
        scale: selects the weights table, if there are several.

    Raises:
        RegistrationError: the file is a link or cannot be written, or the result is not valid.
    """
    import tomlkit

    advice = f"Write it yourself: {told(fields)}."
    if path.is_symlink():
        raise RegistrationError(f"{path}: was not changed: it is a link", advice=advice)
    document = tomlkit.parse(path.read_bytes().decode())
    tables = document.get("weights", {})
    tables = tables if isinstance(tables, list) else [tables]
    weights: Any = next((each for each in tables if each.get("scale", scale) == scale), None)
    for name, value in fields.items():
        table = weights if name in WeightsTable.model_fields else document["model"]
        table[name] = value
    try:
        Manifest.model_validate(document.unwrap())
        replace_file(path, tomlkit.dumps(document).encode())
    except (OSError, ValidationError) as error:
        message = f"{path}: was not changed: {line(str(error))}"
        raise RegistrationError(message, advice=advice) from error
