"""Descriptors of the networks of this distribution, one file an architecture; no torch.

``ENTRIES`` is what the entry point ``esrbench.models`` offers to the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.entries import aidn, bicubic, imdn, rfdn, srresnet

if TYPE_CHECKING:
    from harness.catalog.registry import ModelDescriptor

ENTRIES: tuple[ModelDescriptor, ...] = (
    *aidn.ENTRIES,
    *rfdn.ENTRIES,
    *imdn.ENTRIES,
    *srresnet.ENTRIES,
    *bicubic.ENTRIES,
)
"""Every network of this distribution, in the order of lists."""
