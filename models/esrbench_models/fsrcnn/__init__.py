"""FSRCNN, the first fast network on LR pixels."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="fsrcnn",
        display_name="FSRCNN",
        summary="FSRCNN (56, 12, 4) on luma; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.fsrcnn.network:FSRCNN",
        color="y",
        paper=Paper(
            title="Accelerating the Super-Resolution Convolutional Neural Network",
            venue="ECCV",
            year=2016,
            key="dong2016fsrcnn",
        ),
        licence="MIT",
        # The 12K printed at x4 leave out biases and slopes. FLOPs: see srcnn/__init__.py.
        published=params_k({2: 13, 3: 13}, AIDN_TABLE),
    ),
)
"""FSRCNN (56, 12, 4)."""
