"""NTIRE 2025: one score of exponentials relative to the EFDN baseline.

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

NTIRE2025 = Rule(
    name="ntire2025",
    title="NTIRE 2025 Efficient Super-Resolution",
    source="README and test script of the edition's repository.",
    gates=DIV2K_LSDIR,
    tracks=(
        Track(
            key="main",
            label="Main",
            title="Main (score)",
            formula=Exponential(
                weights={"runtime_images": 0.7, "macs_fvcore": 0.15, "params": 0.15}
            ),
        ),
    ),
    ties="No rule for ties is stated; equal scores share the smallest rank here.",
    columns=COLUMNS_BY_FVCORE,
    baseline=Baseline(
        title="EFDN",
        entry=None,
        values={"runtime_images": 16.69e-3, "params": 0.276e6, "macs_fvcore": 16.70e9},
        psnr={"DIV2K_LSDIR validation": 26.93, "DIV2K_LSDIR test": 27.01},
    ),
    inferred=(
        "Gates are taken as rounded to 2 decimals, as figures are printed.",
        (
            "The README's five-run runtime of the baseline, 18.77 and 14.61 ms, is that of the "
            "last logged run; the mean of these runs is 18.77 and 14.83, so 16.80 ms and not "
            "16.69."
        ),
    ),
    unverified=(
        "No team's results are in the public repository: only the baseline's row can be checked.",
    ),
    footnotes=(FLOPS_BY_FVCORE, RUNTIME, WHOLE_MEMORY),
    device="NVIDIA RTX A6000, mean of five unwarmed runs, mean of validation and test",
)
