"""AIDN (the paper's tables), ARFDN (its authors' entry in NTIRE 2022), and an ablation.

The ablation's steps A0 to A2 are ours, and A3 is ``aidn`` itself. The paper's ablation (table 2)
prints 352 K parameters for two of its rows, which are not identifiable: see
``esrbench_models.aidn.network``.
"""

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
    title="Asymmetric Information Distillation Network for Lightweight Super Resolution",
    venue="NTIRE workshop, CVPR",
    year=2022,
    key="zong2022aidn",
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


_aidn = partial(
    ModelDescriptor,
    scales=(2, 3, 4),
    factory="esrbench_models.aidn.network:AIDN",
    min_lr_size=15,
    paper=_PAPER,
    licence="MIT",
)

ENTRIES = (
    _aidn(
        name="aidn",
        display_name="AIDN",
        summary="AIDN, six blocks as in the paper's tables; no released weights",
        options={"blocks": 6},
        published=(
            *params_k({2: 323, 3: 330, 4: 339}, AIDN_TABLE),
            *flops_g({2: 19.21, 3: 19.65, 4: 20.27}, AIDN_TABLE),
        ),
    ),
    _aidn(
        name="aidn-challenge",
        display_name="ARFDN",
        summary="ARFDN, AIDN's four-block entry in NTIRE 2022 (team 14, HiImageTeam)",
        options={"blocks": 4},
        published=ntire2022(29.00, (47.75, 0.242, 14.51, 151.36, 861.84, 100)),
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
    _aidn(
        name="aidn-a0",
        display_name="AIDN-A0",
        summary="our ablation of AIDN, A0: plain 3x3 for AIEB, no re-use",
        options={"blocks": 6, "reuse": False, "extraction": "plain"},
    ),
    _aidn(
        name="aidn-a1",
        display_name="AIDN-A1",
        summary="our ablation of AIDN, A1: AIEB without its activation, no re-use",
        options={"blocks": 6, "reuse": False, "extraction": "linear"},
    ),
    _aidn(
        name="aidn-a2",
        display_name="AIDN-A2",
        summary="our ablation of AIDN, A2: AIEB, no re-use; A3, with re-use, is aidn",
        options={"blocks": 6, "reuse": False},
    ),
)
"""AIDN at both sizes, and the steps of the ablation towards ``aidn``."""
