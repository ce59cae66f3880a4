"""SAN, second-order channel attention and non-local blocks."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="san",
        display_name="SAN",
        summary="SAN, 20 groups of 10 residual blocks, second-order attention, non-local",
        scales=(2, 3, 4),
        factory="esrbench_models.san.network:SAN",
        min_lr_size=2,
        paper=Paper(
            title="Second-order Attention Network for Single Image Super-Resolution",
            venue="CVPR",
            year=2019,
            key="dai2019san",
        ),
        licence="MIT",
        # 15,674 K at x2 are left out: 15,674,752 were cut off, not rounded.
        published=params_k({3: 15859, 4: 15822}, AIDN_TABLE),
    ),
)
"""SAN as in its paper."""
