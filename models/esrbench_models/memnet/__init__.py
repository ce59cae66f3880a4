"""MemNet, gated memory blocks."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="memnet",
        display_name="MemNet",
        summary="MemNet (M6R6) on luma enlarged by bicubic; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.memnet.network:MemNet",
        color="y",
        input="bicubic-hr",
        paper=Paper(
            title="MemNet: A Persistent Memory Network for Image Restoration",
            venue="ICCV",
            year=2017,
            key="tai2017memnet",
        ),
        licence="MIT",
        # The 677K printed at x4 leave out the biases. FLOPs: see srcnn/__init__.py.
        published=params_k({2: 678, 3: 678}, AIDN_TABLE),
    ),
)
"""MemNet M6R6 with biases and without batch normalisation."""
