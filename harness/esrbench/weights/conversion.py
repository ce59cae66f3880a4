"""Converts any weights file to safetensors: one flat state dict, and a report of what is left out.

It runs in the sandbox, where a stranger's file can do no harm. ``require_converted`` runs outside,
and checks all that comes back.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import AfterValidator, Field

from esrbench.errors import WeightsError
from esrbench.plaintext import plural
from esrbench.protocol import Frozen
from esrbench.records import Count, Sha256  # noqa: TC001 - pydantic reads it
from esrbench.weights.checkpoints import file_sha256, read_safetensors_header
from esrbench.weights.layout import listing, read_weights
from esrbench.weights.state_dicts import MAX_WEIGHTS_BYTES, is_finite, shown, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

_LISTED = 20
_METADATA = {"format": "pt"}
_HEADER_BYTES = 8


def _printable(text: str) -> str:
    """Refuse control characters for terminals, because the text comes from a stranger's file."""
    if not text.isprintable():
        message = "expected printable characters"
        raise ValueError(message)
    return text


_Text = Annotated[str, Field(max_length=600), AfterValidator(_printable)]
_Listed = Annotated[tuple[_Text, ...], Field(max_length=_LISTED)]


class ConversionReport(Frozen):
    """The result of a conversion: what it took and what it left out.

    Lists hold only their first items, so that a report fits into one message.

    Attributes:
        source_bytes: size of the file that was read.
        source_sha256: hash of that file.
        key: name under which the state dict was nested, or None.
        prefix: text that was removed from the front of every name, or empty.
        tensors: number of tensors.
        elements: number of elements of all tensors.
        dtypes: number of tensors by type (``float32``).
        copied: tensors that shared their storage, did not fill it or lay in another order, and
            now have their own.
        dropped: number of items left out.
        dropped_listed: name and kind of the first of them.
        notes: automatic choices, and how to make other ones.
        bytes: size of the result.
        sha256: hash of the result.
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
    """A report, and the safetensors file that it describes."""

    report: ConversionReport
    content: bytes


def convert(
    path: Path,
    *,
    key: str | Sequence[str] | None = None,
    prefix: str | None = None,
    renames: Iterable[tuple[str, str]] = (),
) -> Conversion:
    """Read a weights file as data and write its state dict as safetensors.

    The same tensors under the same names give the same bytes, in whatever order and format they
    were stored. Types and bits of all elements are kept. Everything except tensors is left out and
    reported.

    Args:
        path: the file.
        key: see ``read_weights``.
        prefix: see ``read_weights``.
        renames: see ``read_weights``.

    Raises:
        WeightsError: see ``read_weights``; or a tensor holds NaN.
    """
    import torch

    read = read_weights(path, key=key, prefix=prefix, renames=renames)
    state = {name: each for name, each in read.state.items() if isinstance(each, torch.Tensor)}
    rest = {name: each for name, each in read.state.items() if name not in state}
    dropped, notes = [*read.left_out, *listing(rest)], read.notes
    _require_numbers(path, state, notes)
    tensors, copied = _own_storage(state)
    saved = _serialise(tensors)
    if len(saved) > MAX_WEIGHTS_BYTES:
        message = f"{path}: as safetensors it takes {len(saved)} bytes, expected "
        message += f"{MAX_WEIGHTS_BYTES} at most"
        raise WeightsError(message, advice="Save the weights of one network.")
    types = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())
    report = ConversionReport(
        source_bytes=path.stat().st_size,
        source_sha256=file_sha256(path),
        key=read.key,
        prefix=read.prefix,
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
    """Check the output of a converter that a stranger's file may control; imports no torch.

    Args:
        report: its report.
        content: the safetensors file.

    Raises:
        WeightsError: the file is not the one reported, or not safetensors.
    """
    from safetensors import SafetensorError, deserialize

    source = "the converted file"
    advice = "The file made its converter misbehave: do not use it."
    if (len(content), hashlib.sha256(content).hexdigest()) != (report.bytes, report.sha256):
        message = f"{source}: {len(content)} bytes arrived, but they are not those reported"
        raise WeightsError(message, advice=advice)
    read_safetensors_header(io.BytesIO(content), source)
    try:
        tensors = dict(deserialize(content))  # type: ignore[no-untyped-call] # compiled
        length = int.from_bytes(content[:_HEADER_BYTES], "little")
        header = json.loads(content[_HEADER_BYTES : _HEADER_BYTES + length])
    except (SafetensorError, ValueError) as error:
        message = f"{source}: not a safetensors file ({shown(str(error))})"
        raise WeightsError(message, advice=advice) from error
    if len(tensors) != report.tensors or header.get("__metadata__") != _METADATA:
        found = plural(len(tensors), "tensor")
        message = f"{source}: {found}, expected {report.tensors} and no other data"
        raise WeightsError(message, advice=advice)


def _require_numbers(path: Path, state: Mapping[str, Tensor], notes: list[str]) -> None:
    """Refuse NaN. Infinity is legal in a buffer (a mask), and a file does not mark buffers."""
    wild = [name for name, tensor in state.items() if not is_finite(tensor)]
    damaged = [name for name in wild if bool(state[name].isnan().any())]
    if damaged:
        message = f"{path}: NaN in {plural(len(damaged), 'tensor')}: {some(damaged)}"
        raise WeightsError(message, advice="The file is damaged or its training diverged.")
    if wild:
        notes.append(
            f"infinity in {plural(len(wild), 'tensor')}, which only a mask may hold: {some(wild)}"
        )


def _own_storage(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """Tensors by sorted name, each contiguous in its own storage; and how many were copied.

    ``require_tensors`` has limited their total size.
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
