"""Descriptors of the networks of this distribution, one file an architecture; no torch.

``ENTRIES`` is what the entry point ``esrbench.models`` offers to the registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench_models.entries import (
    aidn,
    bicubic,
    bsrn,
    carn,
    drcn,
    drrn,
    fsrcnn,
    imdn,
    lapsrn,
    memnet,
    rcan,
    rdn,
    rfdn,
    rlfn,
    safmn,
    san,
    span,
    srcnn,
    srresnet,
    vdsr,
)

if TYPE_CHECKING:
    from esrbench.entries.registry import ModelDescriptor

ENTRIES: tuple[ModelDescriptor, ...] = (
    *aidn.ENTRIES,
    *rfdn.ENTRIES,
    *imdn.ENTRIES,
    *srresnet.ENTRIES,
    *rfdn.VARIANTS,
    *aidn.ABLATION,
    *rlfn.ENTRIES,
    *bsrn.ENTRIES,
    *span.ENTRIES,
    *safmn.ENTRIES,
    *carn.ENTRIES,
    *rdn.ENTRIES,
    *rcan.ENTRIES,
    *san.ENTRIES,
    *drcn.ENTRIES,
    *drrn.ENTRIES,
    *fsrcnn.ENTRIES,
    *lapsrn.ENTRIES,
    *memnet.ENTRIES,
    *srcnn.ENTRIES,
    *vdsr.ENTRIES,
    *bicubic.ENTRIES,
)
"""Every network of this distribution, in the order of lists."""
