"""NTIRE 2026: one score of exponentials relative to the SPAN baseline.

Source: README and test script of the edition's repository. Inferred: the rounding of the gates.
Fields ``inferred`` and ``unverified`` say it in full.
"""

from __future__ import annotations

from esrbench.ranking.editions.conventions import (
    COLUMNS_BY_FVCORE,
    DIV2K_LSDIR,
    FLOPS_BY_FVCORE,
    RUNTIME,
    WHOLE_MEMORY,
)
from esrbench.ranking.formulas import Exponential
from esrbench.ranking.rule import Baseline, Rule, Track

NTIRE2026 = Rule(
    name="ntire2026",
    title="NTIRE 2026 Efficient Super-Resolution",
    source="README and test script of the edition's repository.",
    gates=DIV2K_LSDIR,
    tracks=(
        Track(
            key="main",
            label="Main",
            title="Main (score)",
            formula=Exponential(weights={"runtime_images": 0.8, "macs_fvcore": 0.1, "params": 0.1}),
        ),
    ),
    ties="No rule for ties is stated; equal scores share the smallest rank here.",
    columns=COLUMNS_BY_FVCORE,
    baseline=Baseline(
        title="SPAN",
        entry="span",
        values={"runtime_images": 7.74e-3, "params": 0.151e6, "macs_fvcore": 9.83e9},
        psnr={"DIV2K_LSDIR validation": 26.94, "DIV2K_LSDIR test": 27.01},
    ),
    inferred=(
        "Gates are taken as rounded to 2 decimals: five of the 13 eligible entries pass only so.",
        (
            "SPAN scores exp(2) = 7.389 by the printed figures of the README and 7.381 by its "
            "unrounded measurement."
        ),
    ),
    unverified=(
        (
            "No ranking was published beside the measurements: ranks and eligibility here are "
            "computed."
        ),
    ),
    footnotes=(FLOPS_BY_FVCORE, RUNTIME, WHOLE_MEMORY),
    device="NVIDIA RTX A6000, one unwarmed pass is stored, mean of validation and test",
)
