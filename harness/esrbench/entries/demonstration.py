"""Weights that ship with esrbench, so that a first run on a fresh machine has real PSNR.

They were trained here, briefly and on few photographs; the card beside each file says how, and
what it scores. They are not the authors'.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.descriptor import OWN_NAME

if TYPE_CHECKING:
    from esrbench.entries.descriptor import ModelDescriptor


def demonstration_weights(descriptor: ModelDescriptor, scale: int) -> Path | None:
    """The shipped weights file of a network of this distribution at a scale, if there is one."""
    if descriptor.origin != OWN_NAME:
        return None
    package = descriptor.factory.rpartition(".")[0]
    path = Path(str(resources.files(package))) / f"{descriptor.name}_x{scale}.safetensors"
    return path if path.is_file() else None
