"""Finds the state dict in a weights file, and the prefix of its names.

Both are declared, or are found by short lists of names and by the network's own names, and then
reported. It runs in the sandbox, where a stranger's file can do no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from esrbench.errors import WeightsError
from esrbench.records import MAX_LISTED, WeightsLayout
from esrbench.weights.checkpoints import IgnoredObject, read_content
from esrbench.weights.loading import load_into, state_of
from esrbench.weights.state_dicts import (
    NESTING_KEYS,
    common_prefix,
    is_extra_state,
    is_state_dict,
    keep_versions,
    level_at,
    rename_parts,
    require_tensors,
    select_level,
    shown,
    some,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import nn

WRAPPER_PREFIXES: Final = ("module.", "_orig_mod.")
"""Prefixes that torch itself adds to every name: by data parallelism, and by ``torch.compile``."""
TRAINER_PREFIXES: Final = ("model.", "net.", "network.", "generator.", "net_g.", "g.")
"""Attributes under which training frameworks keep the network."""
TRAINER_KEY: Final = "state_dict"
"""The key under which those frameworks nest a state dict. Elsewhere, such a prefix may belong to
the network."""


class ReadWeights(NamedTuple):
    """A state dict, and how its file was laid out.

    Attributes:
        state: dense CPU tensors of any shape and dtype by name, and extra state of modules as it
            was saved. ``_metadata`` has versions of modules, as in PyTorch's own state dicts.
        key: name under which it was nested, or None for the file itself.
        prefix: text that was removed from the front of every name, or empty.
        left_out: name and kind of everything else in the file.
        notes: automatic choices, and how to make other ones.
    """

    state: dict[str, Any]
    key: str | None
    prefix: str
    left_out: list[str]
    notes: list[str]


def read_weights(
    path: Path,
    *,
    key: str | Sequence[str] | None = None,
    prefix: str | None = None,
    renames: Iterable[tuple[str, str]] = (),
    expected: Collection[str] = (),
) -> ReadWeights:
    """Read the state dict of a weights file onto the CPU without running anything in it.

    Args:
        path: the file, of any format that ``read_content`` reads.
        key: name under which the state dict is nested, with dots between levels. If there are
            several names, the first one in the file is used. Empty for the file itself. None tries
            in this order: the whole file if it is a state dict; the only state dict under one of
            ``NESTING_KEYS``, or under two of them; averaged weights if there are plain ones too
            (``params_ema`` and ``params``); the whole file if it holds any tensors. Everything
            except tensors is left out.
        prefix: text to remove from the front of names; names that do not start with it are left
            out. Empty removes nothing. None removes ``WRAPPER_PREFIXES`` and one of
            ``TRAINER_PREFIXES``, each from all names or from none. One of ``TRAINER_PREFIXES`` is
            removed only under ``TRAINER_KEY``, or if the names then match ``expected``.
        renames: (theirs, ours) pairs as in ``ReleasedWeights.renames``, applied last.
        expected: names of the network; if some of them are in the file, no prefix is searched.

    Raises:
        WeightsError: the file is unsafe, damaged, too large, or not laid out as declared; or
            it holds several state dicts and it is not clear which one is meant.
    """
    content = read_content(path)
    notes: list[str] = []
    renames = tuple(renames)
    names = (key,) if isinstance(key, str) else tuple(key or ())
    found = _declared_key(path, content, names) if names else _find_key(path, content, notes)
    level = select_level(path, content, found)
    kept, left_out = _tensors_at(level)
    state = require_tensors(path, kept, found)
    if found is not None:
        left_out = [*_beside(content, found), *left_out]

    def fits(removed: str) -> bool:
        if not expected:
            return False
        cut = {name.removeprefix(removed): None for name in state if _follows(name, removed)}
        return not set(rename_parts(path, cut, renames)).isdisjoint(expected)

    if prefix is None:
        prefix = _find_prefix(state, found, notes, fits)
    taken, others = _take_prefix(path, state, prefix)
    renamed = rename_parts(path, taken, renames)
    versioned = keep_versions(level, renamed, prefix, renames)
    return ReadWeights(versioned, found, prefix, [*left_out, *others], notes)


def listing(left_out: Mapping[Any, Any]) -> list[str]:
    """The items that are left out, by name and kind."""
    return [f"{shown(name)}: {_describe(value)}" for name, value in left_out.items()]


def _declared_key(path: Path, content: Any, names: Sequence[str]) -> str | None:
    """The first of some names that exists in the file; None for the file itself."""
    for name in names:
        if not name:
            return None
        if isinstance(content, dict) and level_at(content, name) is not None:
            return name
    select_level(path, content, names[0])  # says what there is instead
    return names[0]


def _tensors_at(level: dict[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """The tensors and extra state of a level, and what is left out; everything if it is nested."""
    import torch

    tensors = {name for name, value in level.items() if isinstance(value, torch.Tensor)}
    kept = {
        name: value
        for name, value in level.items()
        if name in tensors or (isinstance(name, str) and is_extra_state(name))
    }
    others = {name: value for name, value in level.items() if name not in kept}
    nested = [value.values() for value in others.values() if isinstance(value, dict)]
    if not tensors or any(isinstance(each, torch.Tensor) for values in nested for each in values):
        return level, []
    return kept, listing(others)


def _find_key(path: Path, content: Any, notes: list[str]) -> str | None:
    if not isinstance(content, dict) or not content or is_state_dict(content):
        return None
    found = [name for name in NESTING_KEYS if _is_mostly_tensors(content.get(name))]
    found = found or [
        f"{outer}.{inner}"
        for outer in NESTING_KEYS
        for inner in NESTING_KEYS
        if isinstance(content.get(outer), dict) and _is_mostly_tensors(content[outer].get(inner))
    ]
    if not found and _is_mostly_tensors(content):
        return None
    if not found:
        message = (
            f"{path}: neither a state dict nor a checkpoint with one under "
            f"{', '.join(NESTING_KEYS)}; it has {some(content)}"
        )
        raise WeightsError(message, advice=_name_it("the one that holds the state dict"))
    chosen = _preferred(found)
    if chosen is None:
        message = f"{path}: holds several state dicts: {', '.join(found)}"
        raise WeightsError(message, advice=_name_it("the right one"))
    rest = "".join(f"; key={name!r} takes {name}" for name in found if name != chosen)
    notes.append(f"took the state dict under {chosen!r}{rest}")
    return chosen


def _name_it(what: str) -> str:
    return (
        f"Name {what}: key in [weights] of a manifest, or --key of convert-weights; levels are "
        "joined by dots."
    )


def _preferred(found: Sequence[str]) -> str | None:
    """The only name, or of two the averaged weights, because authors score those."""
    averaged = [name for name in found if set(found) == {name, _plain_name(name)}]
    return found[0] if len(found) == 1 else averaged[0] if averaged else None


def _plain_name(name: str) -> str:
    """The key of the plain weights whose averages are under a key."""
    return name.replace("_ema", "").replace("ema_", "")


def _is_mostly_tensors(level: Any) -> bool:
    """Whether a level is a state dict, perhaps with other values among its tensors."""
    if not isinstance(level, dict):
        return False
    kept = _tensors_at(level)[0].items()
    return is_state_dict({name: each for name, each in kept if not is_extra_state(str(name))})


def _beside(content: Mapping[Any, Any], key: str) -> list[str]:
    """The other contents of a checkpoint, apart from its state dict; they are not examined."""
    taken = (key, key.partition(".")[0])
    return listing({name: value for name, value in content.items() if name not in taken})


def _describe(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    return "settings" if isinstance(value, IgnoredObject) else type(value).__name__


def _find_prefix(
    state: Mapping[str, Any], key: str | None, notes: list[str], fits: Callable[[str], bool]
) -> str:
    """The known prefix that all names share, unless the names fit as they are."""
    prefix = ""
    while not fits(prefix) and (added := _shared(state, prefix, WRAPPER_PREFIXES)):
        prefix += added
    trainer = "" if fits(prefix) else _shared(state, prefix, TRAINER_PREFIXES)
    if trainer and (key == TRAINER_KEY or fits(prefix + trainer)):
        prefix += trainer
    elif trainer:
        notes.append(
            f"all names start with {prefix + trainer!r}, which may be the network's own: "
            f"prefix={prefix + trainer!r} removes it"
        )
    elif trainer is None:
        for name in TRAINER_PREFIXES:
            count = sum(full.startswith(prefix + name) for full in state)
            if count:
                notes.append(
                    f"{count} of {len(state)} names start with {prefix + name!r}: "
                    f"prefix={prefix + name!r} takes them alone"
                )
    if prefix:
        notes.append(f"removed {prefix!r} from all names; prefix='' keeps it")
    return prefix


def _shared(state: Iterable[str], start: str, known: Iterable[str]) -> str | None:
    """The known prefix that follows ``start`` in all names, or None."""
    return next(
        (added for added in known if all(_follows(name, start + added) for name in state)),
        None,
    )


def _follows(name: str, prefix: str) -> bool:
    """Whether a name starts with a prefix and is longer than it."""
    return name.startswith(prefix) and name != prefix


def _take_prefix(
    path: Path, state: Mapping[str, Any], prefix: str
) -> tuple[dict[str, Any], list[str]]:
    """The items whose names start with the prefix, without the prefix, and the items left out."""
    taken = {
        name.removeprefix(prefix): value for name, value in state.items() if _follows(name, prefix)
    }
    if not taken:
        message = f"{path}: no name starts with {prefix!r}; it has {some(state)}"
        common = common_prefix(state)
        advice = f"All keys start with {common!r}: declare that." if common else "Declare none."
        raise WeightsError(message, advice=advice)
    return taken, listing({name: state[name] for name in state if not _follows(name, prefix)})


def load_file(
    network: nn.Module,
    path: Path,
    *,
    key: str | Sequence[str] | None = None,
    prefix: str | None = None,
    renames: Iterable[tuple[str, str]] = (),
    ignore: Sequence[str] = (),
) -> WeightsLayout | None:
    """Load a weights file into a network, strictly.

    Args:
        network: the network to fill.
        path: the file.
        key: see ``read_weights``, which gets the network's own names.
        prefix: see ``read_weights``.
        renames: see ``read_weights``.
        ignore: see ``load_into``.

    Returns:
        How the file was read; None if it holds the network's state dict and nothing else.

    Raises:
        WeightsError: the file is unsafe, not laid out as declared, or does not fit.
    """
    expected = [*state_of(network)]
    read = read_weights(path, key=key, prefix=prefix, renames=renames, expected=expected)
    try:
        ignored = load_into(network, read.state, source=str(path), ignore=ignore)
    except WeightsError as error:
        advice = " ".join(
            [error.advice or "", *(f"{note[0].upper()}{note[1:]}." for note in read.notes)]
        )
        raise WeightsError(error.message, advice=advice) from error
    if read.key is None and not read.prefix and not ignored:
        return None
    listed = tuple(map(shown, ignored[:MAX_LISTED]))
    return WeightsLayout(
        key=read.key, prefix=read.prefix, ignored=listed, ignored_count=len(ignored)
    )
