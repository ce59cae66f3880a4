"""NTIRE 2025: one score of exponentials relative to the EFDN baseline."""

from __future__ import annotations

from harness.ranking.footnotes import FLOPS_BY_FVCORE, RELATIVE_RUNTIME, RUNTIME, WHOLE_MEMORY
from harness.ranking.formulas import Exponential
from harness.ranking.rule import Baseline, Gate, Rule, Track

NTIRE2025 = Rule(
    name="ntire2025",
    title="NTIRE 2025 Efficient Super-Resolution",
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
    footnotes=(FLOPS_BY_FVCORE, RUNTIME, RELATIVE_RUNTIME, WHOLE_MEMORY),
    device="NVIDIA RTX A6000, mean of five unwarmed runs, mean of validation and test",
)
