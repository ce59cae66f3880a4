"""CARN with the upsampling head of one scale, and with the heads of all scales as in training."""

from __future__ import annotations

from functools import partial

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, params_k

_PAPER = Paper(
    title=("Fast, Accurate, and Lightweight Super-Resolution with Cascading Residual Network"),
    venue="ECCV",
    year=2018,
    key="ahn2018carn",
)

_carn = partial(
    ModelDescriptor,
    scales=(2, 3, 4),
    factory="esrbench_models.carn.network:CARN",
    paper=_PAPER,
    licence="MIT",
)

# The AIDN paper's FLOPs are left out: they are the CARN paper's counts for a 1280x720 SR image,
# divided by a constant a scale.
ENTRIES = (
    _carn(
        name="carn",
        display_name="CARN",
        summary="CARN with the upsampling head of its scale only, as deployed",
    ),
    _carn(
        name="carn-multi",
        display_name="CARN",
        summary="CARN with the upsampling heads of all scales, as its parameters are printed",
        options={"all_heads": True},
        published=params_k({2: 1592, 3: 1592, 4: 1592}, AIDN_TABLE),
    ),
)
"""CARN in both forms."""
