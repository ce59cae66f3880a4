"""PyTorch's compiler in its default mode."""

from __future__ import annotations

import inspect
import io
import os
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.backends import COMPILED, INSTALL_COMPILER, Backend, Opened, UntranslatedError
from esrbench.errors import MeasurementError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from esrbench.backends import Setting

OVERRIDE = "TORCHDYNAMO_SUPPRESS_ERRORS"
"""The variable that makes the compiler ignore what a program sets."""
FAILED_OPERATOR = re.compile(r"(?:call_function|target:) ([\w.]+)")


class Compile(Backend):
    """``torch.compile``: a network is compiled at its first forward of each new shape."""

    name = "torch-compile"
    title = "torch.compile"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "tf32", "fp16", "bf16")
    channels_last = True
    processes = True
    since = (2, 1)

    def open(self, network: nn.Module, setting: Setting) -> Opened:
        """The network within the compiler, which finds there what another process compiled.

        Raises:
            MeasurementError: an environment variable overrides our settings. A forward raises it
                too, if the network could not be compiled.
        """
        if os.environ.get(OVERRIDE):
            raise MeasurementError(
                f"the environment's {OVERRIDE}={os.environ[OVERRIDE]} overrides what the protocol "
                "sets",
                advice=f"Unset {OVERRIDE}.",
            )
        if setting.graph is not None:
            from esrbench.torch_versions import compiler_cache

            with zipfile.ZipFile(setting.graph / COMPILED) as kept:
                kept.extractall(compiler_cache())
        return Opened(run=CompiledNetwork(network))

    def compiled(self) -> bytes:
        """The compiler's cache: kernels, and graphs from torch 2.6 on."""
        from esrbench.torch_versions import compiler_cache

        folder = Path(compiler_cache())
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as kept:
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    kept.write(path, path.relative_to(folder))
        return content.getvalue()


class CompiledNetwork:
    """A network compiled by ``torch.compile`` in its default mode.

    It never falls back to eager. It raises an error if the compiler is missing or switched off, or
    if the network runs in more shapes than the compiler allows.
    """

    def __init__(self, network: nn.Module) -> None:
        import torch

        from esrbench.torch_versions import keep_denormals_when_compiling, refuse_recompiling

        refuse_recompiling()
        keep_denormals_when_compiling()
        forward = inspect.unwrap(getattr(type(network), "forward", network))
        # Only a Python function has code.
        code = getattr(forward, "__code__", None)
        self._begins = code and f'File "{code.co_filename}", line {code.co_firstlineno}'
        # We do not use network.compile(), which does not compile a single layer of PyTorch's own.
        self._network = torch.compile(network)
        self._proven = False

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """The compiled network's output.

        Args:
            pixels: the network's input, (1, C, H, W).

        Raises:
            UntranslatedError: it could not be compiled.
        """
        try:
            output: torch.Tensor = self._network(pixels)
        except Exception as error:
            # The compiler's error for too many shapes has no common base class and two names.
            if not any("torch._dynamo" in each.__module__ for each in type(error).__mro__):
                raise
            said = f"{error}\n{error.__cause__ or ''}"
            cause = str(error.__cause__ or error).strip().splitlines()[0]
            operator = FAILED_OPERATOR.search(said)
            at = f" at {operator[1]}" if operator else ""
            raise self._untranslated(
                f"torch.compile failed{at}: {cause}",
                said,
                INSTALL_COMPILER
                if "compiler" in cause.lower()
                else "Measure this network by another backend.",
            ) from error
        if not self._proven:
            self._require_graphs()
        return output

    def _require_graphs(self) -> None:
        from torch._dynamo.utils import counters

        # Counted for the whole process: a copy of a network reuses the graphs of the first.
        if not counters["stats"]["unique_graphs"]:
            raise self._untranslated(
                "torch.compile compiled nothing of this network",
                "",
                "Its code forbids compiling, or holds no tensor operators: measure it "
                "by another backend.",
            )
        self._proven = True

    def _untranslated(self, message: str, said: str, advice: str) -> UntranslatedError:
        """An error at the line that PyTorch names, or at the start of ``forward``."""
        return UntranslatedError(message, stack=f"{self._begins}\n{said}", advice=advice)


BACKEND = Compile()
