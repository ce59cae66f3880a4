"""RDN, dense blocks at full size."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

ENTRIES = (
    ModelDescriptor(
        name="rdn",
        display_name="RDN",
        summary="RDN, 16 residual dense blocks of 8 convolutions",
        scales=(2, 3, 4),
        factory="esrbench_models.rdn.network:RDN",
        paper=Paper(
            title="Residual Dense Network for Image Super-Resolution",
            venue="CVPR",
            year=2018,
            key="zhang2018rdn",
        ),
        licence="MIT",
        published=params_k({2: 22123, 3: 22308, 4: 22271}, AIDN_TABLE),
    ),
)
"""RDN as in its paper."""
