"""The registry of networks: one frozen descriptor each, built-ins and strangers alike.

Descriptors are data and import no torch. A distribution offers its networks through the
``esrbench.models`` entry-point group (a descriptor or an iterable of them); a script uses
``register_model``; a submission is a folder with a manifest. The network's code is imported only
where it runs, from the lazy target.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from esrbench.entries.targets import import_file, import_submitted
from esrbench.errors import RegistrationError, UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import Frozen
from esrbench.records import Notice, Sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ENTRY_POINT_GROUP = "esrbench.models"
OWN_NAME = "esrbench"
TARGET_PATTERN = r"^.+:[A-Za-z_][A-Za-z0-9_.]*$"

Scale = Annotated[int, Field(ge=1, le=16)]
DataRange = Annotated[float, Field(ge=1e-3, le=1e6)]
"""Value of white: 1, 255, 65535 or the like; far from where floats lose their digits."""
MAX_LR_SIDE = 1024
"""Most that the smallest LR image of a network may have in height and width."""
MAX_TILE_SIDE = 4096
LrSide = Annotated[int, Field(ge=1, le=MAX_LR_SIDE)]
TileSide = Annotated[int, Field(ge=8, le=MAX_TILE_SIDE)]
TileOverlap = Annotated[int, Field(ge=0, le=MAX_TILE_SIDE // 2)]
Precision = Literal["fp32", "fp16", "bf16"]
FactoryT = TypeVar("FactoryT", bound="Callable[..., Any]")


class Paper(Frozen):
    """Where a network was published."""

    title: str
    venue: str
    year: int
    url: str | None = None


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
            message = f"there is no metric {metric!r}; known are {', '.join(METRICS)}"
            raise ValueError(message)
        return metric


class ReleasedWeights(Frozen):
    """A checkpoint that its authors published or submitted, and how to read it.

    Attributes:
        scale: upscaling factor it was trained for.
        filename: name in the cache and in mirrors, or path in its submission's folder.
        url: official address, or None where the file lies in its submission's folder.
        bytes: exact size.
        sha256: hash of the file.
        key: name under which the state dict is nested, or None.
        prefix: prefix of every key, removed before loading (``module.``).
        data_range: value of white in the network's input and output (1 or 255).
        renames: (theirs, ours) pairs of dotted key parts; wherever ``theirs`` stands as whole
            parts of a key it becomes ``ours``, in one pass from the left, longest pair first.
        licence: as stated by the publisher.
    """

    scale: Scale
    filename: str
    url: str | None
    bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256
    key: str | None = None
    prefix: str = ""
    data_range: DataRange = 1.0
    renames: tuple[tuple[str, str], ...] = ()
    licence: str


def tiling_problem(multiple: int, tile: int | None, overlap: int) -> tuple[str, str] | None:
    """Field and what is wrong with it, where tiles and padding do not go together."""
    if tile is not None and tile % multiple:
        return "tile", f"{tile} is no multiple of pad_multiple, which is {multiple}"
    if overlap > (tile or 0) // 2:
        return "tile_overlap", f"{overlap} is more than half of tile, which is {tile}"
    return None


class ModelDescriptor(Frozen):
    """Everything a probe needs to know of a network before importing it.

    Attributes:
        name: lower-case identifier.
        summary: one line for lists.
        scales: upscaling factors it is defined for.
        factory: ``module:attr`` or ``path/to/file.py:attr``; called as
            ``factory(scale=..., **options)`` it returns an ``nn.Module`` that maps float32
            (N, C, H, W) in [0, data_range] to (N, C, scale*H, scale*W); see ``color`` and
            ``input`` for what C and H, W are.
        options: keyword arguments of the factory.
        prepare: ``module:attr`` or ``path/to/file.py:attr`` of a hook that is given the network
            with its weights, in eval mode on the CPU, and returns the network in the form in
            which it is deployed (re-parameterised, folded, pruned); it runs before every probe.
        data_range: value of white for weights that declare nothing else.
        color: ``rgb`` (C = 3), or ``y`` (C = 1): BT.601 luma of range 16 to 235, divided by 255
            and multiplied by the data range.
        input: ``lr``, or ``bicubic-hr``: the LR image enlarged by bicubic beforehand, so that
            input and output have the size of HR.
        min_lr_size: smallest LR side that the network accepts.
        pad_multiple: height and width of the network's input are padded up to a multiple of
            this; its output is cropped again.
        tile: side of the tiles in which larger inputs pass through the network, in pixels of its
            input, or None for whole images.
        tile_overlap: pixels of input that neighbouring tiles share.
        precision: arithmetic that its authors declare.
        role: ``network``, or ``floor`` for interpolation that is shown but never ranked.
        paper: publication, if any.
        licence: licence of the implementation.
        published: figures to compare with.
        weights: released checkpoints, at most one a scale.
        submitted: checkpoints in its own folder, at most one a scale.
        folder: absolute path of the submission's folder, in which its factory and its hook are
            looked up; None for all that is installed or registered by code.
        team: who submitted it.
        requirements: distributions it needs beside the harness's own, as for pip.
        origin: distribution or file that registered it; set on registration.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    summary: str
    scales: Annotated[tuple[Scale, ...], Field(min_length=1)]
    factory: Annotated[str, Field(pattern=TARGET_PATTERN)]
    options: dict[str, str | bool | int | float] = {}
    prepare: Annotated[str, Field(pattern=TARGET_PATTERN)] | None = None
    data_range: DataRange = 1.0
    color: Literal["rgb", "y"] = "rgb"
    input: Literal["lr", "bicubic-hr"] = "lr"
    min_lr_size: LrSide = 1
    pad_multiple: Annotated[int, Field(ge=1, le=1024)] = 1
    tile: TileSide | None = None
    tile_overlap: TileOverlap = 0
    precision: Precision = "fp32"
    role: Literal["network", "floor"] = "network"
    paper: Paper | None = None
    licence: str = "unstated"
    published: tuple[PublishedFigure, ...] = ()
    weights: tuple[ReleasedWeights, ...] = ()
    submitted: tuple[ReleasedWeights, ...] = ()
    folder: str | None = None
    team: str | None = None
    requirements: tuple[str, ...] = ()
    origin: str = "unknown"

    @model_validator(mode="after")
    def _tiled(self) -> Self:
        if problem := tiling_problem(self.pad_multiple, self.tile, self.tile_overlap):
            message = ": ".join(problem)
            raise ValueError(message)
        return self

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


class Registry:
    """Descriptors by name. Adding is atomic: all of a batch, or nothing."""

    def __init__(self) -> None:
        self._descriptors: dict[str, ModelDescriptor] = {}
        self.broken: dict[str, RegistrationError] = {}
        """Why submissions are missing, by name; asking for one raises that."""
        self.notices: list[Notice] = []

    def __iter__(self) -> Iterator[ModelDescriptor]:
        """Descriptors in order of registration."""
        return iter(tuple(self._descriptors.values()))

    def __len__(self) -> int:
        """Number of registered networks."""
        return len(self._descriptors)

    def __contains__(self, name: object) -> bool:
        """Whether a network of this name is registered."""
        return name in self._descriptors

    def add(self, descriptors: Iterable[object], *, origin: str) -> None:
        """Register a batch under one origin.

        Raises:
            RegistrationError: a name is taken, twice in the batch, or a value is not a
                descriptor, or two weights claim one scale. The registry is unchanged then.
        """
        batch: dict[str, ModelDescriptor] = {}
        for descriptor in descriptors:
            if not isinstance(descriptor, ModelDescriptor):
                message = f"{origin}: expected a ModelDescriptor, got {type(descriptor).__name__}"
                raise RegistrationError(message)
            name = descriptor.name
            holder = self._descriptors.get(name) or batch.get(name)
            if holder is not None:
                holder_origin = origin if name in batch else holder.origin
                message = f"{origin}: the name {name!r} is already registered by {holder_origin}"
                raise RegistrationError(message, advice="Choose another name.")
            for declared in (descriptor.weights, descriptor.submitted):
                scales = [weights.scale for weights in declared]
                if len(scales) != len(set(scales)) or not set(scales) <= set(descriptor.scales):
                    message = f"{origin}: {name} declares weights for scales {scales}, expected at "
                    message += f"most one for each of {list(descriptor.scales)}"
                    raise RegistrationError(message)
            batch[name] = descriptor.model_copy(update={"origin": origin})
        self._descriptors.update(batch)

    def get(self, name: str) -> ModelDescriptor:
        """Descriptor of a network.

        Raises:
            UsageError: unknown name; the message suggests near ones and names what is known.
            RegistrationError: a submission of this name cannot be registered, and why.
        """
        try:
            return self._descriptors[name]
        except KeyError:
            if broken := self.broken.get(name):
                raise RegistrationError(broken.message, advice=broken.advice) from None
            near = difflib.get_close_matches(name.lower(), self._descriptors, n=3, cutoff=0.5)
            origins = sorted({descriptor.origin for descriptor in self})
            hint = f"Did you mean {' or '.join(near)}? " if near else ""
            advice = (
                f"{hint}Known from {', '.join(origins)}: {', '.join(sorted(self._descriptors))}."
            )
            message = f"no network is registered as {name!r}"
            raise UsageError(message, advice=advice) from None


@cache
def default_registry() -> Registry:
    """The registry of every installed distribution and every submission, filled on first use.

    A distribution whose entry point fails to load leaves a notice and nothing else, and so does a
    folder that is no submission.
    """
    from esrbench.entries.submissions import register_submissions

    registry = Registry()
    offers = [
        (point.dist.name if point.dist is not None else point.value, point)
        for point in metadata.entry_points(group=ENTRY_POINT_GROUP)
    ]
    # Ours first: a stranger who takes one of our names loses, not we.
    for origin, point in sorted(offers, key=lambda offer: offer[0] != OWN_NAME):
        try:
            # What a stranger prints on import must not mix with our results.
            with contextlib.redirect_stdout(sys.stderr):
                offered = point.load()
            batch = (offered,) if isinstance(offered, ModelDescriptor) else tuple(offered)
            registry.add(batch, origin=origin)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - strangers may raise anything
            registry.notices.append(
                Notice(
                    code="broken-entry-point",
                    message=f"{origin}: {point.value} did not load: {error}",
                    advice="Its networks are missing; reinstall or remove that distribution.",
                )
            )
    register_submissions(registry)
    return registry


def register_model(
    name: str, *, scales: Iterable[int], summary: str = "", **fields: Any
) -> Callable[[FactoryT], FactoryT]:
    """Register the decorated class or function as a network of the default registry.

    Args:
        name: lower-case identifier.
        scales: upscaling factors it is defined for.
        summary: one line for lists; the first line of the docstring if empty.
        fields: any other field of ``ModelDescriptor`` except ``factory`` and ``origin``.

    Returns:
        A decorator that returns its argument unchanged.

    Raises:
        RegistrationError: the name is taken or a field is wrong; nothing is registered.
    """

    def register(factory: FactoryT) -> FactoryT:
        module = factory.__module__
        file = getattr(sys.modules.get(module), "__file__", None)
        location = str(Path(file).resolve()) if module == "__main__" and file else module
        if "<locals>" in factory.__qualname__ or (
            module == "__main__" and not (file and Path(file).is_file())
        ):
            message = f"{name!r} is defined where a worker process cannot import it"
            advice = "Define it at the top level of a file: workers import that file."
            raise RegistrationError(message, advice=advice)
        doc = (factory.__doc__ or "").strip().splitlines()
        try:
            descriptor = ModelDescriptor(
                name=name,
                scales=tuple(scales),
                summary=summary or (doc[0] if doc else name),
                factory=f"{location}:{factory.__qualname__}",
                **fields,
            )
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
                for item in error.errors()
            )
            message = f"{name!r} from {location} cannot be registered: {wrong}"
            raise RegistrationError(message, advice="See ModelDescriptor.") from None
        default_registry().add((descriptor,), origin=location)
        return factory

    return register


def resolve_factory(target: str, *, folder: str | None = None) -> Callable[..., Any]:
    """Import a ``module:attr`` or ``path/to/file.py:attr`` target.

    Args:
        target: what to import.
        folder: of the submission in which alone the module is looked up, or None for modules
            that are installed.

    Raises:
        RegistrationError: the module, file or attribute does not exist. Errors raised by the
            imported code itself pass through.
    """
    location, _, attribute = target.rpartition(":")
    if folder is not None:
        module = import_submitted(Path(folder), location)
    elif location.endswith(".py"):
        path = Path(location).resolve()
        if not path.is_file():
            message = f"{target}: there is no file {path}"
            raise RegistrationError(message)
        module = import_file(path)
    else:
        try:
            module = importlib.import_module(location)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{location}.".startswith(f"{error.name}."):
                raise
            message = f"{target}: there is no module {error.name!r}"
            raise RegistrationError(message, advice="Is it installed here?") from error
    value: Any = module
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            message = f"{target}: {location} has no attribute {attribute!r}"
            raise RegistrationError(message) from None
    if not callable(value):
        message = f"{target}: expected a class or function, got {type(value).__name__}"
        raise RegistrationError(message)
    return value  # type: ignore[no-any-return]
