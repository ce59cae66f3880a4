"""SAFMN as entered in NTIRE 2026."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import ntire2026

ENTRIES = (
    ModelDescriptor(
        name="safmn",
        display_name="SAFMN",
        summary="SAFMN of 15 blocks, entered in NTIRE 2026 (team 21); no weights here",
        scales=(4,),
        factory="esrbench_models.safmn.network:SAFMN",
        paper=Paper(
            title="Spatially-Adaptive Feature Modulation for Efficient Image Super-Resolution",
            venue="ICCV",
            year=2023,
            key="sun2023safmn",
        ),
        licence="MIT",
        published=ntire2026((129.695454, 0.149248, 9.620355, 176.109568, 322.373535, 107)),
    ),
)
"""SAFMN as entered in the challenge."""
