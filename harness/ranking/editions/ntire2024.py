"""NTIRE 2024: one score of exponentials relative to the RLFN baseline."""

from __future__ import annotations

from harness.ranking.footnotes import FLOPS_BY_FVCORE, RELATIVE_RUNTIME, RUNTIME, WHOLE_MEMORY
from harness.ranking.formulas import Exponential
from harness.ranking.rule import Baseline, Gate, Rule, Track

NTIRE2024 = Rule(
    name="ntire2024",
    title="NTIRE 2024 Efficient Super-Resolution",
    source="README and test script of the edition's repository.",
    gates=(
        Gate(data="div2k-lsdir-valid", title="DIV2K_LSDIR validation", minimum=26.90),
        Gate(data="div2k-lsdir-test", title="DIV2K_LSDIR test", minimum=26.99),
    ),
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
    columns=(
        "psnr_rgb",
        "runtime_images",
        "params",
        "macs_fvcore",
        "activations_ntire2022",
        "pass_peak_bytes",
        "conv_calls_ntire2022",
    ),
    baseline=Baseline(
        title="RLFN",
        entry="rlfn",
        values={"runtime_images": 13.54e-3, "params": 0.317e6, "macs_fvcore": 19.67e9},
        psnr={"DIV2K_LSDIR validation": 26.96, "DIV2K_LSDIR test": 27.07},
    ),
    inferred=("Gates are taken as rounded to 2 decimals, as figures are printed.",),
    unverified=(
        "No team's results are in the public repository: only the baseline's row can be checked.",
    ),
    footnotes=(FLOPS_BY_FVCORE, RUNTIME, RELATIVE_RUNTIME, WHOLE_MEMORY),
    device="NVIDIA RTX 3090, mean of five unwarmed runs, mean of validation and test",
)
