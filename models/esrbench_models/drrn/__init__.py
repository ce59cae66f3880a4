"""DRRN, one recursive block of residual units."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="drrn",
        display_name="DRRN",
        summary="DRRN (B1U25) on luma enlarged by bicubic; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.drrn.network:DRRN",
        color="y",
        input="bicubic-hr",
        paper=Paper(
            title="Image Super-Resolution via Deep Recursive Residual Network",
            venue="CVPR",
            year=2017,
            key="tai2017drrn",
        ),
        licence="MIT",
        # The 297K printed at x4 leave out the biases. FLOPs: see srcnn/__init__.py.
        published=params_k({2: 298, 3: 298}, AIDN_TABLE),
    ),
)
"""DRRN B1U25 with biases and without batch normalisation."""
