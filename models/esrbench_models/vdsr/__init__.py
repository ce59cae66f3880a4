"""VDSR, twenty convolutions and a global skip."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="vdsr",
        display_name="VDSR",
        summary="VDSR on luma enlarged by bicubic; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.vdsr.network:VDSR",
        color="y",
        input="bicubic-hr",
        paper=Paper(
            title="Accurate Image Super-Resolution Using Very Deep Convolutional Networks",
            venue="CVPR",
            year=2016,
            key="kim2016vdsr",
        ),
        licence="MIT",
        # The 665K printed at x4 leave out the biases. FLOPs: see srcnn/__init__.py.
        published=params_k({2: 666, 3: 666}, AIDN_TABLE),
    ),
)
"""VDSR with biases."""
