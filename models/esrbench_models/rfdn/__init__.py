"""RFDN, the winner of AIM 2020 and baseline of NTIRE 2022 and 2023, and its relatives."""

from __future__ import annotations

from functools import partial

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import (
    AIDN_TABLE,
    DISTILLATION_RENAMES,
    ESA_RENAMES,
    flops_g,
    ntire2022,
    ntire2022_weights,
    params_k,
)

_PAPER = Paper(
    title="Residual Feature Distillation Network for Lightweight Image Super-Resolution",
    venue="AIM workshop, ECCV",
    year=2020,
    key="liu2020rfdn",
)

_RENAMES = (
    *DISTILLATION_RENAMES,
    *((f"c{step}_d", f"distill{step}") for step in range(1, 4)),
    *((f"c{step}_r", f"residual{step}") for step in range(1, 4)),
    ("c4", "distill4"),
    ("c5", "merge"),
    *((f"esa.{theirs}", f"attention.{ours}") for theirs, ours in ESA_RENAMES),
)

_RELEASED = ntire2022_weights(
    "rfdn_baseline.pth",
    size=1_754_927,
    sha256="11af8ec8ebd68689e90ef1e29044f9804c72d3bd9f7573820b7b26035782760c",
    data_range=255.0,
    renames=_RENAMES,
)

_rfdn = partial(
    ModelDescriptor,
    scales=(2, 3, 4),
    factory="esrbench_models.rfdn.network:RFDN",
    licence="MIT",
)

ENTRIES = (
    _rfdn(
        name="rfdn",
        display_name="RFDN",
        summary="RFDN, winner of AIM 2020 and baseline of NTIRE 2022/2023",
        min_lr_size=15,
        paper=_PAPER,
        published=ntire2022(29.04, (41.97, 0.433, 27.10, 112.03, 788.13, 64)),
        weights=(_RELEASED,),
    ),
    _rfdn(
        name="rfdn-paper",
        display_name="RFDN",
        summary="RFDN of its paper's tables: six blocks of 48, channel attention (a guess: CCA)",
        options={"blocks": 6, "channels": 48, "attention": "cca"},
        paper=_PAPER,
        # The AIDN paper prints the FLOPs of rfdn-5 beside these.
        published=params_k({2: 534, 3: 541, 4: 550}, AIDN_TABLE),
    ),
    _rfdn(
        name="rfdn-5",
        display_name="RFDN",
        summary="RFDN of five blocks with ESA, whose FLOPs the AIDN paper prints",
        options={"blocks": 5},
        min_lr_size=15,
        paper=_PAPER,
        published=flops_g({2: 32.07, 3: 32.51, 4: 33.13}, AIDN_TABLE),
    ),
    _rfdn(
        name="rfdn-e",
        display_name="RFDN-E",
        summary="RFDN deployed with RFDB-E blocks: residuals folded into the 3x3 convolutions",
        prepare="esrbench_models.rfdn.network:fold_residuals",
        min_lr_size=15,
        paper=Paper(
            title=("Asymmetric Information Distillation Network for Lightweight Super Resolution"),
            venue="NTIRE workshop, CVPR",
            year=2022,
            key="zong2022aidn",
        ),
        weights=(_RELEASED,),
    ),
)
"""RFDN as released (four blocks, ESA), and those that go by its name: see ``network``."""
