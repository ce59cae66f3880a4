"""RFDN, the winner of AIM 2020 and baseline of NTIRE 2022 and 2023, and its relatives."""

from __future__ import annotations

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

ENTRIES = (
    ModelDescriptor(
        name="rfdn",
        summary="RFDN, winner of AIM 2020 and baseline of NTIRE 2022/2023",
        scales=(2, 3, 4),
        factory="esrbench_models.rfdn.network:RFDN",
        min_lr_size=15,
        paper=_PAPER,
        licence="MIT",
        published=ntire2022(
            psnr=29.04,
            milliseconds=41.97,
            params_m=0.433,
            flops_g=27.10,
            acts_m=112.03,
            memory_m=788.13,
            convs=64,
        ),
        weights=(_RELEASED,),
    ),
    ModelDescriptor(
        name="rfdn-paper",
        summary="RFDN of its paper's tables: six blocks of 48, channel attention (a guess: CCA)",
        scales=(2, 3, 4),
        factory="esrbench_models.rfdn.network:RFDN",
        options={"blocks": 6, "channels": 48, "attention": "cca"},
        paper=_PAPER,
        licence="MIT",
        # The AIDN paper prints the FLOPs of rfdn-5 beside these.
        published=params_k({2: 534, 3: 541, 4: 550}, AIDN_TABLE),
    ),
    ModelDescriptor(
        name="rfdn-5",
        summary="RFDN of five blocks with ESA, whose FLOPs the AIDN paper prints",
        scales=(2, 3, 4),
        factory="esrbench_models.rfdn.network:RFDN",
        options={"blocks": 5},
        min_lr_size=15,
        paper=_PAPER,
        licence="MIT",
        published=flops_g({2: 32.07, 3: 32.51, 4: 33.13}, AIDN_TABLE),
    ),
    ModelDescriptor(
        name="rfdn-e",
        summary="RFDN deployed with RFDB-E blocks: residuals folded into the 3x3 convolutions",
        scales=(2, 3, 4),
        factory="esrbench_models.rfdn.network:RFDN",
        prepare="esrbench_models.rfdn.network:fold_residuals",
        min_lr_size=15,
        paper=Paper(
            title=("Asymmetric Information Distillation Network for Lightweight Super Resolution"),
            venue="NTIRE workshop, CVPR",
            year=2022,
        ),
        licence="MIT",
        weights=(_RELEASED,),
    ),
)
"""RFDN as released (four blocks, ESA), and those that go by its name: see ``network``."""
