"""Turning any weights file into safetensors: one flat state dict, and what was left out of it.

How a file is laid out is declared, or found by short lists of names and then reported. Meant to
run where a stranger's file can do no harm; ``require_converted`` is for the other side, which
trusts nothing that comes back.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from esrbench.errors import WeightsError
from esrbench.protocol import Frozen
from esrbench.records import Count, Sha256  # noqa: TC001 - pydantic reads it
from esrbench.weights.checkpoints import file_sha256, read_content, read_safetensors_header
from esrbench.weights.state_dicts import (
    MAX_WEIGHTS_BYTES,
    NESTING_KEYS,
    is_finite,
    is_state_dict,
    rename_parts,
    require_tensors,
    select_level,
    shown,
    some,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from torch import Tensor

AUTO = "auto"
"""Look for the key, or the prefix, among known names."""
WRAPPER_PREFIXES = ("module.", "_orig_mod.")
"""What torch itself puts before every name: data parallelism, and ``torch.compile``."""
TRAINER_PREFIXES = ("model.", "net.", "network.", "generator.", "net_g.", "g.")
"""Attributes under which training frameworks keep the network."""
TRAINER_KEY = "state_dict"
"""Where those frameworks nest what they save; elsewhere such a prefix may be the network's own."""
PREFERRED = {frozenset({"params_ema", "params"}): "params_ema"}
"""Averaged weights are those that were scored; any other choice is the caller's."""

_LISTED = 20
_METADATA = {"format": "pt"}
_HEADER_BYTES = 8


def _printable(text: str) -> str:
    """Refuse what a terminal would obey: the text comes from a stranger's file."""
    if not text.isprintable():
        message = "expected printable characters"
        raise ValueError(message)
    return text


_Text = Annotated[str, Field(max_length=600), AfterValidator(_printable)]
_Listed = Annotated[tuple[_Text, ...], Field(max_length=_LISTED)]


class ConversionReport(Frozen):
    """What a conversion took, what it left out, and what came of it.

    Lists end after their first entries, so that a report fits into one message.

    Attributes:
        source_bytes: size of the file read.
        source_sha256: its hash.
        key: name under which the state dict was nested, or None.
        prefix: what was removed from the front of every name, or empty.
        tensors: their number.
        elements: of all tensors.
        dtypes: number of tensors by type (``float32``).
        copied: tensors that shared their storage, did not fill it or lay in another order, and
            now have their own.
        dropped: number of things left out.
        dropped_listed: the first of them, with what they are.
        notes: what was chosen for the caller, and how to choose otherwise.
        bytes: size of the result.
        sha256: its hash.
    """

    source_bytes: Count
    source_sha256: Sha256
    key: _Text | None
    prefix: _Text
    tensors: Annotated[int, Field(gt=0)]
    elements: Count
    dtypes: Annotated[dict[_Text, Count], Field(max_length=_LISTED)]
    copied: Count
    dropped: Count
    dropped_listed: _Listed
    notes: _Listed
    bytes: Annotated[int, Field(gt=0, le=MAX_WEIGHTS_BYTES)]
    sha256: Sha256


class Conversion(NamedTuple):
    """A report, and the safetensors file of which it speaks."""

    report: ConversionReport
    content: bytes


def convert(
    path: Path,
    *,
    key: str | None = AUTO,
    prefix: str | None = AUTO,
    renames: Iterable[tuple[str, str]] = (),
) -> Conversion:
    """Read a weights file as data and write its state dict as safetensors.

    The same tensors under the same names give the same bytes, whatever order and format they
    came in. Types and bits of all elements are kept.

    Args:
        path: ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt``.
        key: name under which the state dict is nested (names of several levels are joined by
            dots), None for none. ``auto`` takes the whole file if it is a state dict, else the
            only one of ``NESTING_KEYS`` or of two of them that is, else ``params_ema`` beside
            ``params``, else the whole file if tensors are among what it holds. What is no tensor
            is left out and reported.
        prefix: what to remove from the front of names, leaving out all that do not start with
            it; None for nothing. ``auto`` removes ``WRAPPER_PREFIXES`` and, under
            ``TRAINER_KEY``, one of ``TRAINER_PREFIXES`` from all names or from none.
        renames: (theirs, ours) pairs as in ``ReleasedWeights.renames``, applied last.

    Raises:
        WeightsError: the file is unsafe, damaged, too large, or not laid out as declared; or
            it holds several state dicts and it is not clear which one is meant.
    """
    content = read_content(path)
    notes: list[str] = []
    if key == AUTO:
        key = _find_key(path, content, notes)
    level, others = _tensors_at(select_level(path, content, key))
    state = require_tensors(path, level, key)
    _require_numbers(path, state, notes)
    dropped = others if key is None else [*_beside(content, key), *others]
    if prefix == AUTO:
        prefix = _find_prefix(state, key, notes)
    state, others = _take_prefix(path, state, prefix or "")
    state = rename_parts(path, state, renames)
    dropped.extend(others)
    tensors, copied = _own_storage(state)
    saved = _serialise(tensors)
    if len(saved) > MAX_WEIGHTS_BYTES:
        message = f"{path}: as safetensors it takes {len(saved)} bytes, at most {MAX_WEIGHTS_BYTES}"
        raise WeightsError(f"{message} may", advice="Save the weights of one network.")
    types = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    report = ConversionReport(
        source_bytes=path.stat().st_size,
        source_sha256=file_sha256(path),
        key=key,
        prefix=prefix or "",
        tensors=len(tensors),
        elements=sum(tensor.numel() for tensor in tensors.values()),
        dtypes=dict(sorted(types.items())),
        copied=copied,
        dropped=len(dropped),
        dropped_listed=tuple(dropped[:_LISTED]),
        notes=tuple(notes),
        bytes=len(saved),
        sha256=hashlib.sha256(saved).hexdigest(),
    )
    return Conversion(report, saved)


def require_converted(report: ConversionReport, content: bytes) -> None:
    """Check what a converter sent that may be in a stranger's hands; imports no torch.

    Args:
        report: what it says.
        content: the safetensors file.

    Raises:
        WeightsError: the file is not the one reported, or not safetensors.
    """
    from safetensors import SafetensorError, deserialize

    source = "the converted file"
    advice = "The file made its converter misbehave: do not use it."
    if (len(content), hashlib.sha256(content).hexdigest()) != (report.bytes, report.sha256):
        message = f"{source}: {len(content)} bytes arrived that are not those reported"
        raise WeightsError(message, advice=advice)
    read_safetensors_header(io.BytesIO(content), source)
    try:
        tensors = dict(deserialize(content))  # type: ignore[no-untyped-call] # compiled
        length = int.from_bytes(content[:_HEADER_BYTES], "little")
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + length])
    except (SafetensorError, ValueError) as error:
        message = f"{source}: no safetensors file ({shown(str(error))})"
        raise WeightsError(message, advice=advice) from error
    if len(tensors) != report.tensors or header.get("__metadata__") != _METADATA:
        message = f"{source}: {len(tensors)} tensors, expected {report.tensors} and no other data"
        raise WeightsError(message, advice=advice)


def _tensors_at(level: dict[Any, Any]) -> tuple[dict[Any, Any], list[str]]:
    """The tensors of a level, and what else lies there; all of it where a part is nested."""
    import torch

    tensors = {name: value for name, value in level.items() if isinstance(value, torch.Tensor)}
    others = {name: value for name, value in level.items() if name not in tensors}
    nested = [value.values() for value in others.values() if isinstance(value, dict)]
    if not tensors or any(isinstance(each, torch.Tensor) for values in nested for each in values):
        return level, []
    return tensors, _listing(others)


def _listing(left_out: Mapping[Any, Any]) -> list[str]:
    """What is left out, by name and kind."""
    return [f"{shown(name)}: {_describe(value)}" for name, value in left_out.items()]


def _require_numbers(path: Path, state: Mapping[str, Tensor], notes: list[str]) -> None:
    """Refuse NaN; infinity is legal in a buffer (a mask), which nothing here tells apart."""
    wild = [name for name, tensor in state.items() if not is_finite(tensor)]
    damaged = [name for name in wild if bool(state[name].isnan().any())]
    if damaged:
        message = f"{path}: {len(damaged)} tensors hold NaN: {some(damaged)}"
        raise WeightsError(message, advice="The file is damaged or its training diverged.")
    if wild:
        notes.append(
            f"{len(wild)} tensors hold infinity ({some(wild)}): a mask may, a parameter may not"
        )


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
        raise WeightsError(
            message,
            advice="Name the key that holds the state dict by --key; levels are joined by dots.",
        )
    chosen = PREFERRED.get(frozenset(found)) if len(found) > 1 else found[0]
    if chosen is None:
        message = f"{path}: holds several state dicts: {', '.join(found)}"
        raise WeightsError(message, advice="Name the one that is meant by --key.")
    rest = "".join(f"; --key {name} takes {name}" for name in found if name != chosen)
    notes.append(f"took the state dict under {chosen!r}{rest}")
    return chosen


def _is_mostly_tensors(level: Any) -> bool:
    """Whether a level is a state dict, perhaps with other values among its tensors."""
    return isinstance(level, dict) and is_state_dict(_tensors_at(level)[0])


def _beside(content: Mapping[Any, Any], key: str) -> list[str]:
    """What a checkpoint holds beside its state dict, not looked into."""
    taken = (key, key.partition(".")[0])
    return _listing({name: value for name, value in content.items() if name not in taken})


def _describe(value: Any) -> str:
    import torch

    if isinstance(value, torch.Tensor):
        return "tensor"
    if isinstance(value, dict | list | tuple | set):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__


def _find_prefix(state: Mapping[str, Tensor], key: str | None, notes: list[str]) -> str:
    """The known prefix that all names share."""
    prefix = ""
    while added := _shared(state, prefix, WRAPPER_PREFIXES):
        prefix += added
    trainer = _shared(state, prefix, TRAINER_PREFIXES)
    if trainer and key == TRAINER_KEY:
        prefix += trainer
    elif trainer:
        notes.append(
            f"all names start with {prefix + trainer!r}, which may be the network's own: "
            f"--prefix {prefix + trainer} removes it"
        )
    else:
        for name in TRAINER_PREFIXES:
            count = sum(full.startswith(prefix + name) for full in state)
            if count:
                notes.append(
                    f"{count} of {len(state)} names start with {prefix + name!r}: "
                    f"--prefix {prefix + name} takes them alone"
                )
    if prefix:
        notes.append(f"removed {prefix!r} from all names; --prefix '' keeps it")
    return prefix


def _shared(state: Mapping[str, Tensor], start: str, known: Iterable[str]) -> str | None:
    """The one of the known prefixes that follows ``start`` in all names."""
    return next(
        (added for added in known if all(_follows(name, start + added) for name in state)),
        None,
    )


def _follows(name: str, prefix: str) -> bool:
    """Whether a name starts with a prefix and goes on."""
    return name.startswith(prefix) and name != prefix


def _take_prefix(
    path: Path, state: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors whose names start with the prefix, without it, and what is left out."""
    taken = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if _follows(name, prefix)
    }
    if not taken:
        message = f"{path}: no name starts with {prefix!r}; it has {some(state)}"
        raise WeightsError(message, advice="Correct --prefix, or leave it out.")
    left = {name: tensor for name, tensor in state.items() if not _follows(name, prefix)}
    return taken, _listing(left)


def _own_storage(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Tensors by sorted name, each alone in its storage and contiguous; and how many were copied.

    ``require_tensors`` has bounded what all of them take.
    """
    import torch

    uses = Counter(tensor.untyped_storage().data_ptr() for tensor in state.values())
    tensors, copied = {}, 0
    for name, tensor in sorted(state.items()):
        storage = tensor.untyped_storage()
        plain = not (tensor.is_conj() or tensor.is_neg())
        alone = uses[storage.data_ptr()] == 1 or not tensor.numel()
        if plain and alone and tensor.is_contiguous() and storage.nbytes() == tensor.nbytes:
            tensors[name] = tensor
        else:
            resolved = tensor.resolve_conj().resolve_neg()
            tensors[name] = resolved.clone(memory_format=torch.contiguous_format)
            copied += 1
    return tensors, copied


def _serialise(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    return save(tensors, metadata=_METADATA)
