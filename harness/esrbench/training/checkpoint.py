"""What training leaves on disk: checkpoints to go on from, and weights to run.

Both are old or new, never torn. A checkpoint holds all that decides the rest of the training;
it is read as data (``weights_only``), never as a program.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import torch

from esrbench.errors import RecordError, UsageError
from esrbench.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

CHECKPOINT: Final = "checkpoint.pt"
LAST: Final = "last.safetensors"
BEST: Final = "best.safetensors"
LOG: Final = "log.csv"

_FORMAT: Final = 1


def save_checkpoint(folder: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        folder: of the training.
        identity: what must be the same when it goes on, by name.
        state: tensors, numbers, strings, and lists and dicts of them.

    Raises:
        RecordError: it cannot be written.
    """
    content = {"format": _FORMAT, "identity": dict(identity), "state": dict(state)}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    _write(folder / CHECKPOINT, buffer.getvalue())


def load_checkpoint(folder: Path, identity: Mapping[str, str]) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        UsageError: there is none, or it belongs to another training; every difference is named.
        RecordError: it is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        message = f"{folder}: there is no {CHECKPOINT} to resume from"
        raise UsageError(message, advice="Leave --resume out, or name the folder of a training.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        form, saved, state = content["format"], content["identity"], content["state"]
    except Exception as error:  # a damaged file may raise anything
        raise _unusable(path, type(error).__name__) from error
    if form != _FORMAT:
        raise _unusable(path, f"format {form}")
    differing = [
        f"{name} was {saved.get(name)}, is {value}"
        for name, value in identity.items()
        if saved.get(name) != value
    ]
    if differing:
        message = f"{folder} holds another training: {'; '.join(differing)}"
        raise UsageError(message, advice="Give what it was begun with, or another folder.")
    return dict(state)


def _unusable(path: Path, why: str) -> RecordError:
    message = f"{path}: damaged, or no checkpoint of this version ({why})"
    return RecordError(message, advice="Train again, in another folder.")


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write weights as safetensors.

    Args:
        path: the file.
        state: tensors by name, in the dtype in which they are saved.
        metadata: by name; what is no string is written as JSON.

    Raises:
        RecordError: it cannot be written.
    """
    from safetensors.torch import save

    texts = {
        key: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for key, value in metadata.items()
    }
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    _write(path, save(plain, metadata=texts))


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as error:
        message = f"{path}: cannot be written: {error}"
        raise RecordError(message, advice="Free space or choose another folder.") from error
