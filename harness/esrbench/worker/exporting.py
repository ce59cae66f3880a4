"""Export the graph of a network for a backend; this part runs in a worker."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from esrbench.backends import get_backend
from esrbench.errors import EsrbenchError, MeasurementError
from esrbench.worker.messages import Exported
from esrbench.worker.tracebacks import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.worker.loaded import Worker
    from esrbench.worker.messages import Export, Load

SIDE: Final = 48
"""Least height of the example in LR pixels."""
WIDER: Final = 16
"""Difference between width and height, so that the two cannot be confused."""


def export_graph(
    worker: Worker, load: Load, asked: Export, inputs: Sequence[torch.Tensor]
) -> tuple[Exported, bytes]:
    """Write the graph of a loaded network.

    Args:
        worker: the worker that loaded the network, eager and on the CPU.
        load: the request that loaded it.
        asked: the request, with backend and precision.
        inputs: calibration inputs for quantisation, each (1, C, H, W).

    Returns:
        A description of the graph, and the content of its files one after the other.

    Raises:
        MeasurementError: the backend cannot export the network; the message names the line of its
            code.
    """
    backend = get_backend(asked.backend)
    lacks = backend.missing(torch.__version__, precision=asked.precision)
    if lacks:
        raise MeasurementError(lacks[0], advice=lacks[1])
    side = max(SIDE, load.descriptor.min_lr_size)
    size = worker.conversion.input_size((side, side + WIDER))
    example = torch.rand(1, worker.conversion.channels, *size)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            held = worker.requests.running(
                partial(backend.build, worker.opened.network, example, folder)
            )
            if asked.precision != "fp32":
                integers = backend.quantise(
                    folder, inputs, asked.precision, fp32_ends=asked.fp32_ends
                )
                held = replace(integers, parameters=held.parameters)
        except EsrbenchError:
            raise
        except Exception as error:
            first = next(filter(None, map(str.strip, str(error).splitlines())), "")
            place = place_of(error, load.code)
            where = f" ({place})" if place else ""
            raise MeasurementError(
                f"its code cannot be traced for images of any size: {type(error).__name__}: "
                f"{first}{where}",
                advice="Do not branch on pixel values or on the size of the image, and register a "
                "function for the shapes of custom operators (register_fake).",
            ) from error
        contents = {each: (folder / each).read_bytes() for each in backend.files}
    reply = Exported(
        files=tuple((each, len(content)) for each, content in contents.items()),
        parameters=held.parameters,
        operators=held.operators,
        float_products=held.float_products,
    )
    return reply, b"".join(contents.values())
