"""RCAN, ten groups of twenty channel attention blocks."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="rcan",
        display_name="RCAN",
        summary="RCAN, 10 residual groups of 20 channel attention blocks",
        scales=(2, 3, 4),
        factory="esrbench_models.rcan.network:RCAN",
        paper=Paper(
            title=("Image Super-Resolution Using Very Deep Residual Channel Attention Networks"),
            venue="ECCV",
            year=2018,
            key="zhang2018rcan",
        ),
        licence="MIT",
        # 15,444 K at x2 are left out: 15,444,643 were cut off, not rounded.
        published=params_k({3: 15629, 4: 15592}, AIDN_TABLE),
    ),
)
"""RCAN as in its paper."""
