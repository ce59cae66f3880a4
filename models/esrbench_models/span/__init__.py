"""SPAN, winner of NTIRE 2024 and baseline of NTIRE 2026."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import ntire2026

ENTRIES = (
    ModelDescriptor(
        name="span",
        display_name="SPAN",
        summary="SPAN, baseline of NTIRE 2026, in its re-parameterised form; no weights here",
        scales=(4,),
        factory="esrbench_models.span.network:SPAN",
        options={"channels": 28},
        paper=Paper(
            title=("Swift Parameter-free Attention Network for Efficient Super-Resolution"),
            venue="NTIRE workshop, CVPR",
            year=2024,
            key="wan2024span",
        ),
        licence="MIT",
        published=ntire2026((7.736398, 0.150688, 9.833808, 41.680896, 705.236816, 22)),
    ),
)
"""SPAN at the width of the challenges."""
