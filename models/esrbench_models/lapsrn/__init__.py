"""LapSRN, a Laplacian pyramid of x2 levels."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="lapsrn",
        display_name="LapSRN",
        summary="LapSRN on luma, in the form printed for each scale; no released weights here",
        scales=(2, 3, 4),
        factory="esrbench_models.lapsrn.network:LapSRN",
        color="y",
        paper=Paper(
            title="Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution",
            venue="CVPR",
            year=2017,
            key="lai2017lapsrn",
        ),
        licence="MIT",
        # FLOPs: see srcnn/__init__.py; at x2 and x3 they are not even of these networks.
        published=params_k({2: 251, 3: 502, 4: 813}, AIDN_TABLE),
    ),
)
"""LapSRN; each scale has a form of its own."""
