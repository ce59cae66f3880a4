"""Facts about a network that are known before it is imported: one frozen descriptor each; no torch.

Descriptors are data. The network's code is imported only where it runs, from the lazy target.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.plaintext import visible
from esrbench.protocol import Frozen
from esrbench.records import LoadedBy, Sha256  # noqa: TC001 - pydantic reads annotations

"""Origin of the networks of this distribution."""
TARGET_PATTERN = r"^.+:[A-Za-z_][A-Za-z0-9_.]*$"
MAX_DISPLAY_NAME = 40
"""Most characters of a name in tables and figures of papers."""
CITATION_KEY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9:._+-]{0,63}$"
"""Keys that LaTeX's ``\\cite`` accepts, without characters that LaTeX treats specially."""
IDENTIFIER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"

Scale = Annotated[int, Field(ge=1, le=16)]
DataRange = Annotated[float, Field(ge=1e-3, le=1e6)]
"""Value of white: 1, 255, 65535 or similar, in a range where floats are precise."""
MAX_LR_SIDE = 1024
"""Largest allowed height and width of a network's smallest LR image."""
MAX_TILE_SIDE = 4096
Precision = Literal["fp32", "fp16", "bf16"]
MAX_TEXT_CHARACTERS = 300
MAX_INTEGER = 2**63 - 1
MAX_LEVELS = 8
"""Most levels of nested lists and tables in a factory's arguments."""


def printable(text: str) -> str:
    """Raise an error for characters that could move a terminal's cursor or hide text in a table."""
    if visible(text) != text:
        message = "expected one line of printable characters"
        raise ValueError(message)
    return text


def _argument(value: object, level: int = 0) -> Any:
    """A copy of a value with TOML's types; a tuple becomes a list, as in a message to a worker."""
    if level > MAX_LEVELS:
        message = f"expected lists and tables of at most {MAX_LEVELS} levels"
        raise ValueError(message)
    if isinstance(value, list | tuple):
        return [_argument(each, level + 1) for each in value]
    if isinstance(value, dict):
        return {printable(str(key)): _argument(each, level + 1) for key, each in value.items()}
    finite = not isinstance(value, float) or math.isfinite(value)
    if not isinstance(value, str | bool | int | float) or not finite:
        message = "expected a string, a number, true or false, or lists and tables of them"
        raise ValueError(message)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        message = f"expected a number between -{MAX_INTEGER} and {MAX_INTEGER}"
        raise ValueError(message)
    if isinstance(value, str) and len(value) > MAX_TEXT_CHARACTERS:
        message = f"expected at most {MAX_TEXT_CHARACTERS} characters"
        raise ValueError(message)
    return printable(value) if isinstance(value, str) else value


def _arguments(value: object) -> Any:
    if not isinstance(value, list | tuple | dict):
        message = "expected a list, by position, or a table, by keyword"
        raise ValueError(message)  # noqa: TRY004 - pydantic tells of ValueErrors
    return _argument(value)


Argument = Annotated[
    Any,
    AfterValidator(_argument),
    WithJsonSchema({"type": ["string", "number", "boolean", "array", "object"]}),
]


CitationKey = Annotated[str, Field(pattern=CITATION_KEY_PATTERN)]


class Paper(Frozen):
    """Publication of a network; LaTeX cites it by ``key``."""

    title: str
    venue: str
    year: int
    url: str | None = None
    key: CitationKey | None = None

    @property
    def reference(self) -> str:
        """One line for a list of references."""
        link = f", {self.url}" if self.url else ""
        return f"{self.title}. {self.venue}, {self.year}{link}"


class PublishedFigure(Frozen):
    """A figure printed by its authors or by a challenge, in base units of its metric.

    Attributes:
        metric: key in ``esrbench.metrics.METRICS``.
        scale: upscaling factor.
        value: the printed figure in base units (29.00 dB is 29.0; 0.242 M is 242000).
        source: table and edition.
        data: data set, for quality figures.
    """

    metric: str
    scale: Scale
    value: float
    source: str
    data: str | None = None

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            message = f"there is no metric {metric!r}; the metrics are {', '.join(METRICS)}"
            raise ValueError(message)
        return metric


def _several(value: object) -> object:
    """A single name stands for a list of one, and None for an empty one."""
    return [value] if isinstance(value, str) else () if value is None else value


class ReleasedWeights(Frozen):
    """A checkpoint that its authors published or submitted, and how to read it.

    Attributes:
        scale: upscaling factor it was trained for.
        filename: name in the cache and in mirrors, or path in its submission's folder.
        url: official address, or None if the file lies in its submission's folder.
        bytes: exact size.
        sha256: hash of the file.
        key: names under which the state dict may be nested; the first existing one counts. Empty
            for the file itself; None to search, as ``read_weights`` does.
        prefix: prefix of the keys to load (``module.``), which is removed; empty for all keys; None
            to search, as ``read_weights`` does.
        data_range: value of white in the network's input and output (1 or 255).
        renames: (theirs, ours) pairs of dotted key parts; wherever ``theirs`` stands as whole
            parts of a key it becomes ``ours``, in one pass from the left, longest pair first.
        ignore: patterns for ``fnmatch`` of surplus keys that are allowed.
        loaded_by: ``factory`` if the network's own code loads the file, which is then only checked;
            None if esrbench loads it.
        licence: as stated by the publisher.
    """

    scale: Scale
    filename: str
    url: str | None
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    key: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    prefix: str | None = None
    ignore: tuple[str, ...] = ()
    loaded_by: LoadedBy | None = None
    data_range: DataRange = 1.0
    renames: tuple[tuple[str, str], ...] = ()
    licence: str


class NetworkFacts(Frozen):
    """The way a network is built and run, as descriptors and manifests declare it.

    Attributes:
        name: lower-case identifier.
        summary: one line for lists.
        display_name: name in tables and figures of papers; None for ``name``.
        scales: upscaling factors it is defined for.
        factory: ``module:attr`` or ``path/to/file.py:attr``, called with ``arguments``, ``options``
            and the scale. It returns an ``nn.Module`` that maps float32 (N, C, H, W) in
            [0, data_range] to (N, C, scale*H, scale*W). ``color`` decides C, ``input`` decides H
            and W. While a submission is built, the working directory is its folder.
        arguments: arguments of the factory: a list by position, or a table by keyword.
        options: keyword arguments of the factory.
        scale_argument: keyword of the factory for the scale; if left out, the factory's signature
            decides, see ``factories.arguments_of``.
        prepare: target, like ``factory``, of a hook. It gets the network with its weights, in eval
            mode on the CPU, and returns the deployed network (re-parameterised, folded, pruned). It
            runs before every probe.
        deploy: name of a method of the network, or of its parts if the network has no such method;
            or target of a function that gets the network. It is called after the weights are
            loaded, and brings the network into its deployed form in place.
        build: Python script in the submission's folder, and its arguments, that compiles modules
            beside its sources: ``setup.py build_ext --inplace``.
        pure_torch: ``module:attr`` of a factory of the same network without compiled modules, for
            counting; ``factory`` itself must then be importable without them.
        data_range: value of white for weights that declare nothing else.
        color: ``rgb`` (C = 3), or ``y`` (C = 1): BT.601 luma with the range 16 to 235, divided by
            255 and multiplied by the data range.
        input: ``lr``, or ``bicubic-hr``: the LR image is first enlarged by bicubic interpolation,
            so that input and output have the size of HR.
        min_lr_size: smallest LR side that the network accepts.
        pad_multiple: height and width of the network's input are padded up to a multiple of
            this; its output is cropped again.
        tile: side of the tiles in which larger inputs pass through the network, in pixels of its
            input, or None for whole images.
        tile_overlap: pixels of input that neighbouring tiles share.
        precision: arithmetic that its authors declare.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    summary: str
    display_name: (
        Annotated[str, Field(min_length=1, max_length=MAX_DISPLAY_NAME), AfterValidator(printable)]
        | None
    ) = None
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)]
    factory: Annotated[str, Field(pattern=TARGET_PATTERN)]
    arguments: Annotated[
        Any, AfterValidator(_arguments), WithJsonSchema({"type": ["array", "object"]})
    ] = []
    options: dict[str, Argument] = {}
    scale_argument: Annotated[str, Field(pattern=IDENTIFIER_PATTERN)] | None = None
    prepare: Annotated[str, Field(pattern=TARGET_PATTERN)] | None = None
    deploy: Annotated[str, Field(pattern=rf"{IDENTIFIER_PATTERN}|{TARGET_PATTERN}")] | None = None
    build: str | None = None
    pure_torch: Annotated[str, Field(pattern=TARGET_PATTERN)] | None = None
    data_range: DataRange = 1.0
    color: Literal["rgb", "y"] = "rgb"
    input: Literal["lr", "bicubic-hr"] = "lr"
    min_lr_size: Annotated[int, Field(ge=1, le=MAX_LR_SIDE)] = 1
    pad_multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    tile: Annotated[int, Field(ge=8, le=MAX_TILE_SIDE)] | None = None
    tile_overlap: Annotated[int, Field(ge=0, le=MAX_TILE_SIDE // 2)] = 0
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _tiled(self) -> Self:
        # The text before the colon is the field: pydantic names none for a whole model.
        if self.tile is not None and self.tile % self.pad_multiple:
            message = f"tile: {self.tile} is no multiple of pad_multiple, which is "
            message += f"{self.pad_multiple}"
            raise ValueError(message)
        if self.tile_overlap > (self.tile or 0) // 2:
            message = f"tile_overlap: {self.tile_overlap} is more than half of tile, which is "
            message += f"{self.tile}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _given_once(self) -> Self:
        by_name = set(self.arguments) if isinstance(self.arguments, dict) else set()
        if twice := sorted(by_name & set(self.options)):
            message = f"arguments: kwargs has {', '.join(twice)} too"
            raise ValueError(message)
        if self.scale_argument in by_name | set(self.options):
            message = f"scale_argument: {self.scale_argument} is given by arguments or kwargs"
            raise ValueError(message)
        return self

    @property
    def targets(self) -> dict[str, str]:
        """The targets that are imported to build and deploy it, by field."""
        fields = ("factory", "prepare", "deploy", "pure_torch")
        named = {field: getattr(self, field) for field in fields}
        return {field: each for field, each in named.items() if each is not None and ":" in each}


class ModelDescriptor(NetworkFacts):
    """``NetworkFacts``, and everything else a probe must know about a network before importing it.

    Attributes:
        role: ``network``, or ``floor`` for an interpolation baseline: shown, never ranked.
        paper: publication, if any.
        licence: licence of the implementation.
        published: figures to compare with.
        weights: released checkpoints, at most one a scale.
        submitted: checkpoints in its own folder, at most one a scale.
        folder: absolute path of the submission's folder, which contains its factory and its hook;
            None for a network that is installed or registered by code.
        sources: the submission's own folder, if ``folder`` is a copy with compiled modules.
        built_sha256: digest of the files in ``folder``, if it has compiled modules, else None.
        team: who submitted it.
        requirements: distributions it needs in addition to the harness's own, as for pip.
        origin: distribution or file that registered it; set on registration.
    """

    role: Literal["network", "floor"] = "network"
    paper: Paper | None = None
    licence: str = "unstated"
    published: tuple[PublishedFigure, ...] = ()
    weights: tuple[ReleasedWeights, ...] = ()
    submitted: tuple[ReleasedWeights, ...] = ()
    folder: str | None = None
    sources: str | None = None
    built_sha256: Sha256 | None = None
    team: str | None = None
    requirements: tuple[str, ...] = ()
    origin: str = "unknown"

    def released_weights(self, scale: int) -> ReleasedWeights | None:
        """The released checkpoint for a scale, if there is one."""
        return next((weights for weights in self.weights if weights.scale == scale), None)

    def submitted_weights(self, scale: int) -> ReleasedWeights | None:
        """The checkpoint in the submission's folder for a scale, if there is one."""
        return next((weights for weights in self.submitted if weights.scale == scale), None)

    def require_scale(self, scale: int) -> None:
        """Raise ``UsageError`` if the network is not defined for this scale."""
        if scale not in self.scales:
            known = ", ".join(f"x{known}" for known in self.scales)
            message = f"{self.name} is not defined at x{scale}"
            raise UsageError(message, advice=f"Use one of its scales: {known}.")
