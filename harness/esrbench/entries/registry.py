"""The registry of networks by name: built-in ones and all others.

A distribution offers its networks through the ``esrbench.models`` entry-point group (a descriptor
or an iterable of them); a script uses ``register_model``; a submission is a folder with a manifest.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.manifest import MANIFEST_NAME
from esrbench.entries.submissions import (
    SUBMISSIONS_VARIABLE,
    find_submissions,
    read_submission,
    submissions_folder,
)
from esrbench.entries.targets import importable_location
from esrbench.entries.weight_files import same_weights
from esrbench.errors import RegistrationError, UsageError, did_you_mean, field_problems
from esrbench.metrics import PLUGIN_NOTICES
from esrbench.plaintext import relative
from esrbench.plugins import load_entry_points
from esrbench.records import Notice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ENTRY_POINT_GROUP = "esrbench.models"
HOW_TO_BE_KNOWN = (
    "To add your own network, install its package in the environment of esrbench, or put its "
    "folder into submissions/."
)
FROM_A_FILE = (
    'Save its class in a file, with @esrbench.register_model("mynet", scales=(4,)) above it. In a '
    "notebook, write `%%writefile mynet.py` as the first line of the cell. Then `import mynet` and "
    'run "mynet".'
)
"""Text: how to register a network so that a worker finds it."""
FactoryT = TypeVar("FactoryT", bound="Callable[..., Any]")


class Registry:
    """Descriptors by name. Adding is atomic: all of a batch, or nothing."""

    def __init__(self) -> None:
        self._descriptors: dict[str, ModelDescriptor] = {}
        self.broken: dict[str, RegistrationError] = {}
        """Errors of submissions that cannot be registered, by name; ``get`` raises them."""
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
            RegistrationError: a name is taken or occurs twice in the batch, a value is not a
                descriptor, or two weights have one scale. The registry does not change then.
        """
        batch: dict[str, ModelDescriptor] = {}
        for descriptor in descriptors:
            if not isinstance(descriptor, ModelDescriptor):
                message = f"{origin}: expected a ModelDescriptor, got {type(descriptor).__name__}"
                raise RegistrationError(message)
            name = descriptor.name
            holder = self._descriptors.get(name) or batch.get(name)
            known = name in self._descriptors
            if holder is not None and not (known and _same(holder, descriptor, origin)):
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
            UsageError: the name is unknown; the advice suggests similar names and lists all.
            RegistrationError: a submission of this name cannot be registered; the message says why.
        """
        try:
            return self._descriptors[name]
        except KeyError:
            if broken := self.broken.get(name):
                raise RegistrationError(broken.message, advice=broken.advice) from None
            origins = sorted({descriptor.origin for descriptor in self})
            names = ", ".join(sorted(self._descriptors))
            hint = did_you_mean(name, self._descriptors)
            advice = f"{hint}{HOW_TO_BE_KNOWN} Known from {', '.join(origins)}: {names}."
            message = f"no network is registered as {name!r}"
            raise UsageError(message, advice=advice) from None


def _same(known: ModelDescriptor, new: ModelDescriptor, origin: str) -> bool:
    """Whether a module registers its own network again, as when a notebook reloads it."""
    return new.folder is None and (known.origin, known.factory) == (origin, new.factory)


@cache
def default_registry() -> Registry:
    """The registry of every installed distribution and every submission, filled on first use.

    If an entry point fails to load, or a folder is not a valid submission, there is only a notice.
    """
    registry = Registry()

    def accept(offered: Any, origin: str) -> None:
        batch = (offered,) if isinstance(offered, ModelDescriptor) else tuple(offered)
        registry.add(batch, origin=origin)

    registry.notices += PLUGIN_NOTICES
    registry.notices += load_entry_points(ENTRY_POINT_GROUP, accept, missing="networks")
    register_submissions(registry)
    return registry


def register_submissions(registry: Registry) -> None:
    """Add every submission to a registry.

    For a folder that cannot be registered there is a notice, and its error is in
    ``registry.broken``. If a submission has the weights of another entry, there is a notice too.
    """
    for name, found in find_submissions(submissions_folder()):
        try:
            if isinstance(found, RegistrationError):
                raise found
            registry.add((found,), origin=found.origin)
        except RegistrationError as raised:
            error = _seen_from(submissions_folder(), raised)
            registry.broken[name] = error
            registry.notices.append(
                Notice(
                    code="broken-submission",
                    message=error.message,
                    advice=error.advice or f"See `esrbench validate {name}`.",
                )
            )
    submitted = [entry.name for entry in registry if entry.folder is not None]
    hashes = {
        entry.name: [each.sha256 for each in (*entry.submitted, *entry.weights)]
        for entry in registry
    }
    registry.notices.extend(same_weights(hashes, submitted))


def resolve_names(registry: Registry, names: Iterable[str]) -> list[str]:
    """Names of networks from names or paths; folders of submissions are registered.

    A registered name takes precedence over a folder of the same name; write ``./NAME`` for the
    folder. A folder that contains folders with manifests stands for all of them. Entries that
    cannot be registered are in ``registry.broken`` afterwards. A name that is not a path is
    returned unchanged, even if it is unknown.

    Raises:
        UsageError: a path does not exist or is not a folder.
        RegistrationError: a submission has the name of another network.
    """
    found: list[str] = []
    for name in names:
        folder = Path(name)
        is_path = folder.name != name or (folder / MANIFEST_NAME).is_file()
        if name in registry or name in registry.broken or not is_path:
            found.append(name)
        elif not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            message = f"{name} {what}, expected the folder of a submission"
            raise UsageError(message, advice="Give folders, as in submissions/*/, or names.")
        elif not (folder / MANIFEST_NAME).exists() and any(folder.glob(f"*/{MANIFEST_NAME}")):
            found += [_take(registry, folder / each) for each, _ in find_submissions(folder)]
        else:
            found.append(_take(registry, folder))
    return list(dict.fromkeys(found))


def resolve_name(registry: Registry, name: str) -> str:
    """The name of one network; see ``resolve_names``.

    Raises:
        UsageError: as in ``resolve_names``, or the folder has several submissions.
        RegistrationError: as in ``resolve_names``.
    """
    found = resolve_names(registry, [name])
    if len(found) > 1:
        message = f"{name} holds {len(found)} submissions, expected one"
        raise UsageError(message, advice=f"They are: {', '.join(found)}.")
    return found[0]


def submitted_names(registry: Registry) -> list[str]:
    """Names of all submissions, with those that cannot be registered.

    Raises:
        UsageError: there are none.
    """
    names = [*(each.name for each in registry if each.folder is not None), *registry.broken]
    if not names:
        message = f"there are no submissions in {submissions_folder()}"
        raise UsageError(
            message, advice=f"Name another folder with the variable {SUBMISSIONS_VARIABLE}."
        )
    return names


def _take(registry: Registry, folder: Path) -> str:
    """Register the submission in a folder and return its name."""
    whole = str(folder.resolve())
    known = next((each.name for each in registry if each.folder == whole), None)
    if known is not None:
        return known
    name = folder.absolute().name
    try:
        found = read_submission(folder)
        registry.add((found,), origin=found.origin)
    except RegistrationError as error:
        if name in registry:
            origin = registry.get(name).origin
            message = f"{folder}: another network is called {name!r}, from {origin}"
            advice = "Rename the folder and its model.name."
            raise RegistrationError(message, advice=advice) from None
        registry.broken[name] = _seen_from(folder.absolute().parent, error)
    return name


def _seen_from(folder: Path, error: RegistrationError) -> RegistrationError:
    """The same error with paths relative to a folder, because records and tables are published."""
    places = [str(folder.absolute()), str(folder.resolve())]
    return RegistrationError(relative(error.message, places), advice=error.advice)


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
        location = importable_location(factory.__module__)
        if "<locals>" in factory.__qualname__ or location is None:
            message = f"{name!r} is defined where a worker process cannot import it"
            advice = "Define it at the top level of a file: workers import that file."
            if location is None:
                advice = (
                    f"{FROM_A_FILE} To count, score or time it here, leave the decorator out and "
                    "pass the module to esrbench.complexity, evaluate or latency."
                )
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
            wrong = "; ".join(field_problems(error, "the descriptor"))
            message = f"{name!r} from {location} cannot be registered: {wrong}"
            raise RegistrationError(
                message, advice="Correct these fields of ModelDescriptor."
            ) from None
        default_registry().add((descriptor,), origin=location)
        return factory

    return register
