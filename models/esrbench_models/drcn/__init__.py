"""DRCN, one convolution applied sixteen times."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="drcn",
        display_name="DRCN",
        summary="DRCN on luma enlarged by bicubic, without biases; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.drcn.network:DRCN",
        color="y",
        input="bicubic-hr",
        paper=Paper(
            title="Deeply-Recursive Convolutional Network for Image Super-Resolution",
            venue="CVPR",
            year=2016,
            key="kim2016drcn",
        ),
        licence="MIT",
        # FLOPs: see srcnn/__init__.py.
        published=params_k({2: 1774, 3: 1774, 4: 1774}, AIDN_TABLE),
    ),
)
"""DRCN without biases, as printed."""
