"""AIDN (the paper's tables), ARFDN (its authors' entry in NTIRE 2022), and an ablation.

The ablation's steps A0 to A2 are ours, and A3 is ``aidn`` itself. The paper's ablation (table 2)
prints 352 K parameters for two of its rows, which are not identifiable: see
``esrbench_models.aidn.network``.
"""

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
    title="Asymmetric Information Distillation Network for Lightweight Super Resolution",
    venue="NTIRE workshop, CVPR",
    year=2022,
)

_RENAMES = (
    *DISTILLATION_RENAMES,
    *((f"c{step}_d", f"distill{step + 1}") for step in range(3)),
    ("c4", "distill4"),
    ("c5", "merge"),
    *(
        (f"c{step}_{theirs}", f"extract{step}.{ours}")
        for step in range(1, 4)
        for theirs, ours in (
            ("l1", "vertical_first.0"),
            ("l2", "vertical_first.2"),
            ("m1", "horizontal_first.0"),
            ("m2", "horizontal_first.2"),
        )
    ),
    *((f"mpa.{theirs}", f"attention.{ours}") for theirs, ours in ESA_RENAMES),
)


def _step(name: str, summary: str, options: dict[str, str | bool | int | float]) -> ModelDescriptor:
    return ModelDescriptor(
        name=name,
        summary=summary,
        scales=(2, 3, 4),
        factory="esrbench_models.aidn.network:AIDN",
        options={"blocks": 6, "reuse": False, **options},
        min_lr_size=15,
        paper=_PAPER,
        licence="MIT",
    )


ENTRIES = (
    ModelDescriptor(
        name="aidn",
        summary="AIDN, six blocks as in the paper's tables; no released weights",
        scales=(2, 3, 4),
        factory="esrbench_models.aidn.network:AIDN",
        options={"blocks": 6},
        min_lr_size=15,
        paper=_PAPER,
        licence="MIT",
        published=(
            *params_k({2: 323, 3: 330, 4: 339}, AIDN_TABLE),
            *flops_g({2: 19.21, 3: 19.65, 4: 20.27}, AIDN_TABLE),
        ),
    ),
    ModelDescriptor(
        name="aidn-challenge",
        summary="ARFDN, AIDN's four-block entry in NTIRE 2022 (team 14, HiImageTeam)",
        scales=(2, 3, 4),
        factory="esrbench_models.aidn.network:AIDN",
        options={"blocks": 4},
        min_lr_size=15,
        paper=_PAPER,
        licence="MIT",
        published=ntire2022(
            psnr=29.00,
            milliseconds=47.75,
            params_m=0.242,
            flops_g=14.51,
            acts_m=151.36,
            memory_m=861.84,
            convs=100,
        ),
        weights=(
            ntire2022_weights(
                "team14_arfdn.pth",
                size=1_001_590,
                sha256="e0dcd7238ce49fafa95d7464e6f8ac15aa41b255679f3b9cfa8e4a1311fba46b",
                prefix="module.",
                renames=_RENAMES,
            ),
        ),
    ),
    _step(
        "aidn-a0",
        "our ablation of AIDN, A0: plain 3x3 for AIEB, no re-use",
        {"extraction": "plain"},
    ),
    _step(
        "aidn-a1",
        "our ablation of AIDN, A1: AIEB without its activation, no re-use",
        {"extraction": "linear"},
    ),
    _step(
        "aidn-a2",
        "our ablation of AIDN, A2: AIEB, no re-use; A3, with re-use, is aidn",
        {},
    ),
)
"""AIDN at both sizes, and the steps of the ablation towards ``aidn``."""
