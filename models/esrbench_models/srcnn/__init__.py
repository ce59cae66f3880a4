"""SRCNN, the first convolutional network for SR."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="srcnn",
        display_name="SRCNN",
        summary="SRCNN 9-5-5 on luma enlarged by bicubic; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.srcnn.network:SRCNN",
        color="y",
        input="bicubic-hr",
        paper=Paper(
            title="Image Super-Resolution Using Deep Convolutional Networks",
            venue="IEEE Transactions on Pattern Analysis and Machine Intelligence",
            year=2016,
            key="dong2016srcnn",
        ),
        licence="MIT",
        # Here and in the other entries of luma the paper's FLOPs are left out: they are counts
        # that earlier papers print for a 1280x720 SR image, divided by a constant a scale.
        published=params_k({2: 57, 3: 57, 4: 57}, AIDN_TABLE),
    ),
)
"""SRCNN in its 9-5-5 form."""
