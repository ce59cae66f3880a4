"""Turns a challenge's file into a suite, as ``esrbench run`` does with its options."""

from __future__ import annotations

import glob
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.challenge.file import pin
from esrbench.data.datasets import open_dataset
from esrbench.data.declarations import DATASETS
from esrbench.entries.manifest import MANIFEST_NAME
from esrbench.entries.registry import resolve_name, resolve_names
from esrbench.errors import DataError, UsageError
from esrbench.records import Notice
from esrbench.runs.plan import plan_suite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from esrbench.challenge.file import Challenge, DataTable
    from esrbench.data.datasets import ImagePairs
    from esrbench.entries.registry import Registry
    from esrbench.records import DataIdentity
    from esrbench.runs.plan import Suite
    from esrbench.runs.run_states import RunStates
    from esrbench.runs.store import Store


@dataclass(frozen=True, slots=True)
class ChallengePlan:
    """What a challenge runs.

    Attributes:
        suite: the suite, as ``esrbench run`` makes it.
        notices: entries that are left out, and why.
        unpinned: digests of data sets whose images nothing fixes yet, by name.
    """

    suite: Suite
    notices: tuple[Notice, ...]
    unpinned: dict[str, str]


def plan_challenge(
    path: Path,
    challenge: Challenge,
    registry: Registry,
    states: RunStates,
    *,
    on_image: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> ChallengePlan:
    """Resolve and check everything before any network runs.

    Args:
        path: the challenge's file.
        challenge: the content of that file.
        registry: where names are looked up; folders are registered there.
        states: which entries are withdrawn.
        on_image: called with data set, images checked and images in all.

    Raises:
        UsageError: no entry is left, or see ``plan_suite``.
        DataError: images may not be measured on, or are not the pinned ones.
        WeightsError: see ``plan_suite``.
    """
    named, notices = _named(path, challenge, registry)
    why = {name: _left_out(name, challenge, registry, states) for name in named}
    names = [name for name in named if why[name] is None]
    notices += [notice for notice in why.values() if notice is not None]
    if not names:
        message = f"{path}: entries: there is no entry to run"
        raise UsageError(message, advice="; ".join(each.message for each in notices))
    data = [
        open_data(path, number, table, challenge.scale, on_image)
        for number, table in enumerate(challenge.data)
    ]
    unpinned = {
        identity.name: identity.digest
        for table, (_, identity) in zip(challenge.data, data, strict=True)
        if table.digest is None and identity.pinned
    }
    suite = plan_suite(
        registry,
        names,
        data,
        challenge.scale,
        weights={},
        interpreters={
            name: _environment(path, where)
            for name, where in challenge.environments.items()
            if why.get(name) is None
        },
        protocol=challenge.measured_by,
        isolation=challenge.isolation,
        baseline=_baseline(path, challenge, registry),
        order_seed=challenge.order_seed,
        own_precision=True,
        gpu=None if challenge.engine is not None and challenge.engine.elsewhere else 0,
    )
    return ChallengePlan(suite, tuple(notices), unpinned)


def _named(path: Path, challenge: Challenge, registry: Registry) -> tuple[list[str], list[Notice]]:
    """Names of all entries of a challenge, each once, and which globs match none."""
    notices: list[Notice] = []
    found: list[str] = []
    for number, written in enumerate(challenge.entries):
        if glob.has_magic(written):
            folders = list(_folders(path.parent, written))
            found += resolve_names(registry, folders)
            if not folders:
                said = f"entries[{number}]: {written!r} matches no folder with a {MANIFEST_NAME}"
                advice = "`esrbench new TEAM-NAME` starts one."
                notices.append(Notice(code="no-entries", message=said, advice=advice))
        elif written in registry or written in registry.broken:
            found.append(written)
        else:
            folder = path.parent / written
            found += resolve_names(registry, [str(folder) if folder.exists() else written])
    return list(dict.fromkeys(found)), notices


def _left_out(
    name: str, challenge: Challenge, registry: Registry, states: RunStates
) -> Notice | None:
    """Why an entry does not run, or None."""
    state = states.of(name)
    precision = registry.get(name).precision if name in registry else None
    if state.state == "withdrawn":
        said = f"{state.name} is withdrawn: {state.reason or 'no reason was given'}"
        advice = f"`esrbench runs restore {state.name}` undoes that."
        return Notice(code="withdrawn-entry", message=said, advice=advice)
    if challenge.classes and precision is not None and precision not in challenge.classes:
        said = f"{name} declares {precision} and is left out: the challenge admits "
        said += ", ".join(challenge.classes)
        advice = f"Add {precision} to classes of the challenge, or ask the team."
        return Notice(code="class-not-admitted", message=said, advice=advice)
    return None


def _folders(root: Path, pattern: str) -> Iterator[str]:
    """Folders with a manifest that a pattern matches, and folders of such folders."""
    for each in sorted(glob.glob(str(root / pattern))):  # noqa: PTH207 - patterns may be absolute
        folder = Path(each)
        if folder.name.startswith(("_", ".")) or not folder.is_dir():
            continue
        if (folder / MANIFEST_NAME).is_file() or any(folder.glob(f"*/{MANIFEST_NAME}")):
            yield str(folder)


def _baseline(path: Path, challenge: Challenge, registry: Registry) -> str | None:
    """The entry that runs in every round: the challenge's, or the rule's if it is registered."""
    rule = challenge.rule.baseline
    if challenge.baseline is None:
        return rule.entry if rule is not None and rule.entry in registry else None
    folder = path.parent / challenge.baseline
    given = challenge.baseline
    is_path = given not in registry and (folder / MANIFEST_NAME).is_file()
    return resolve_name(registry, str(folder) if is_path else given)


def _environment(path: Path, where: str) -> str:
    """The path of an interpreter, relative to the file, or the name of an environment."""
    return str(path.parent / where) if "/" in where else where


def open_data(
    path: Path, number: int, table: DataTable, scale: int, on_image: Callable[[str, int, int], None]
) -> tuple[ImagePairs, DataIdentity]:
    """A data set of the challenge, and its identity in records.

    Raises:
        DataError: the images are not the pinned ones, or see ``open_dataset``.
        UsageError: see ``open_dataset``.
    """
    root = None if table.folder is None else path.parent / table.folder
    declared = table.name in DATASETS
    pairs = open_dataset(
        table.name if declared or root is None else root,
        scale,
        root=root if declared else None,
        progress=partial(on_image, table.name),
    )
    if not declared:
        pairs = replace(pairs, name=table.name, title=table.name)
    pairs = replace(pairs, hidden=pairs.hidden or table.hidden)
    identity = pairs.identity()
    if table.digest not in {None, identity.digest}:
        message = f"{path}: data[{number}].digest: {table.name} holds other images than were pinned"
        problem = f"expected {table.digest}, found {identity.digest}"
        advice = "Put the pinned images there. To measure on others, remove that line: records on "
        advice += "the pinned ones are then incomparable."
        raise DataError(message, [problem], advice=advice)
    return pairs, identity.model_copy(update={"pinned": not identity.verified})


def log_challenge(
    path: Path, challenge: Challenge, planned: ChallengePlan, store: Store
) -> list[str]:
    """Pin images that nothing fixes yet, and log the file under which entries run from now on.

    Args:
        path: the challenge's file.
        challenge: the content of that file.
        planned: what will run.
        store: store of the records.

    Returns:
        Notes that a reader should know, one line each.

    Raises:
        DataError: the digests cannot be written into the file.
        RecordError: the log cannot be written.
    """
    if planned.unpinned:
        pin(path, planned.unpinned)
    text = path.read_bytes().decode()
    logged = [each for each in store.load_decisions()[0] if each.action == "challenge"]
    if not logged or logged[-1].text != text:
        store.decide("challenge", challenge.title, text=text)
    return [
        f"{path}: pinned {name} at its first use, as no official hash is known: {digest}"
        for name, digest in planned.unpinned.items()
    ]
