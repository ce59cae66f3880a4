"""Read weights files in a worker, where programs hidden in them can do no harm."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.weight_files import require_intact
from esrbench.errors import WeightsError
from esrbench.weights.checkpoints import holds_safetensors
from esrbench.weights.conversion import require_converted
from esrbench.worker import launcher
from esrbench.worker.failure import WorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.entries.descriptor import ReleasedWeights
    from esrbench.weights.conversion import ConversionReport
    from esrbench.worker.launcher import Launcher

SECONDS = 300.0
"""Longest time of reading a file, in seconds."""


def convert_confined(
    path: Path,
    opened: Launcher,
    *,
    key: str | tuple[str, ...] | None,
    prefix: str | None,
    renames: Sequence[tuple[str, str]],
    timeout_seconds: float = SECONDS,
) -> tuple[ConversionReport, bytes]:
    """Have a worker read a file, and check its answer.

    Args:
        path: the file.
        opened: starts the worker.
        key: as in ``convert``.
        prefix: as in ``convert``.
        renames: as in ``convert``.
        timeout_seconds: deadline of the worker.

    Returns:
        The names that were used and left out, and the content of a safetensors file.

    Raises:
        WeightsError: the file is unsafe, damaged, or not laid out as declared.
        WorkerError: the worker ended, or took too long.
    """
    real = path.resolve()
    worker = opened.worker(readable=[real], timeout_seconds=timeout_seconds)
    try:
        with worker as session:
            report, content = session.convert_weights(real, key=key, prefix=prefix, renames=renames)
    except WorkerError as error:
        if error.fatal or error.kind != "load-error":
            raise error.said_of(str(path)) from error
        raise WeightsError(error.said, advice=error.advice) from error
    require_converted(report, content)
    return report, content


@contextmanager
def without_pickle(
    path: Path | None, declared: ReleasedWeights | None = None
) -> Iterator[tuple[Path | None, ReleasedWeights | None]]:
    """Give this process, which has no sandbox, a weights file that it can read safely.

    Before torch 2.10, a pickled file could run a program even if it was read as data. With such a
    torch, a worker copies its state dict to safetensors; versions of modules and extra state are
    lost.

    Args:
        path: the file, or None for no weights.
        declared: its layout, if known.

    Yields:
        The file itself or its copy, which exists until the block ends, and its declaration.

    Raises:
        WeightsError: the file is unsafe, damaged, altered, or not laid out as declared.
        WorkerError: the worker ended, or took too long.
    """
    from esrbench.torch_versions import reads_data_only

    if path is None or reads_data_only() or not path.is_file() or holds_safetensors(path):
        yield path, declared
        return
    key = None
    if declared is not None:
        require_intact(path, declared, advice="It changed meanwhile; load it again.")
        key = next(iter(declared.key), None)
    report, content = convert_confined(
        path, launcher.open_launcher(), key=key, prefix="", renames=()
    )
    if declared is not None:
        copied = {"key": (), "bytes": report.bytes, "sha256": report.sha256}
        declared = declared.model_copy(update=copied)
    with tempfile.TemporaryDirectory(prefix="esrbench-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        yield copy, declared
