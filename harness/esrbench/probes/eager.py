"""Networks of compiled parts, run as they are written: what runs then can be seen."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def eagerly() -> Iterator[None]:
    """Let ``torch.compile`` compile nothing in this block; compiled parts run as Python.

    Else a compiler would take operators out of sight, and compile whoever looks at them. It is
    left alone, and not imported (1.4 s), where nothing was compiled.
    """
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
