"""The files that training writes: checkpoints to resume from, weights to run, and a log.

A file of checkpoint or weights is either old or new, never partly written. A checkpoint holds all
that decides the rest of the training. It is read as data (``weights_only``), never as a program.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from esrbench.errors import RecordError, UsageError, WeightsError
from esrbench.files import replace_file
from esrbench.weights.checkpoints import file_sha256, holds_safetensors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

CHECKPOINT: Final = "checkpoint.pt"
LAST: Final = "last.safetensors"
BEST: Final = "best.safetensors"
LOG: Final = "log.csv"

_FORMAT: Final = 1
_INHERITED = ("model", "scale", "iterations", "patches", "cpu_seconds", "recipe", "data", "start")


def save_checkpoint(folder: Path, identity: Mapping[str, str], state: Mapping[str, Any]) -> None:
    """Write a checkpoint.

    Args:
        folder: folder of the training.
        identity: settings that must be the same when it is resumed, by name.
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
        UsageError: there is no checkpoint, or it belongs to another training; every difference is
            named.
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
        f"{name} was {saved.get(name)}, now it is {value}"
        for name, value in identity.items()
        if saved.get(name) != value
    ]
    if differing:
        message = f"{folder} holds another training: {'; '.join(differing)}"
        raise UsageError(message, advice="Use the settings that it began with, or another folder.")
    return dict(state)


def _unusable(path: Path, why: str) -> RecordError:
    message = f"{path}: damaged, or not a checkpoint of this version ({why})"
    return RecordError(message, advice="Train again, in another folder.")


def save_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write weights as safetensors.

    Args:
        path: the file.
        state: tensors by name, in the dtype in which they are saved.
        metadata: values by name; a value that is not a string is written as JSON.

    Raises:
        RecordError: it cannot be written.
    """
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


def origin_of(path: Path) -> dict[str, Any]:
    """The hash and the metadata of a weights file that a training starts from.

    Raises:
        WeightsError: it cannot be read.
    """
    origin: dict[str, Any] = {"sha256": file_sha256(path)}
    if holds_safetensors(path):
        try:
            with safe_open(path, "pt") as file:
                said = file.metadata() or {}
        except SafetensorError as error:
            message = f"{path}: truncated, altered, or not a safetensors file ({error})"
            raise WeightsError(message, advice="Fetch or save it again.") from error
        origin |= {key: said[key] for key in _INHERITED if key in said}
    return origin


class LogRow(NamedTuple):
    """One line of the log.

    Attributes:
        iteration: steps done, over all stages.
        stage: its number, from 1.
        learning_rate: rate of the last step.
        loss: mean over the steps since the previous row.
        psnr: RGB PSNR in dB of a validation, or None.
        seconds: seconds of training so far.
    """

    iteration: int
    stage: int
    learning_rate: float
    loss: float
    psnr: float | None
    seconds: float


def begin_log(path: Path, iteration: int) -> None:
    """Open a log and drop rows beyond ``iteration``, which will be made again.

    Raises:
        RecordError: it cannot be written.
    """
    rows: list[list[str]] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if iteration and path.is_file():
            with path.open(newline="") as file:
                read = list(csv.reader(file))[1:]
            rows = [row for row in read if row[:1] and int(row[0]) <= iteration]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([LogRow._fields, *rows])
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be continued: {error}"
        raise RecordError(message, advice="Repair or delete it.") from error


def add_to_log(path: Path, row: LogRow) -> None:
    """Append a row.

    Raises:
        RecordError: it cannot be written.
    """
    try:
        with path.open("a", newline="") as file:
            csv.writer(file).writerow("" if value is None else value for value in row)
    except OSError as error:
        message = f"{path}: cannot be written: {error}"
        raise RecordError(message, advice="Free space, then continue with --resume.") from error
