"""Eager PyTorch: the backend that all others are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.backends import Backend, Opened

if TYPE_CHECKING:
    from torch import nn

    from esrbench.backends import Setting


class Eager(Backend):
    """The network's own code, operator by operator."""

    name = "torch"
    title = "PyTorch"
    devices = ("cpu", "cuda")
    precisions = ("fp32", "tf32", "fp16", "bf16")
    channels_last = True

    def open(self, network: nn.Module, setting: Setting) -> Opened:  # noqa: ARG002 - as every backend
        """The network itself."""
        return Opened(run=network)


BACKEND = Eager()
