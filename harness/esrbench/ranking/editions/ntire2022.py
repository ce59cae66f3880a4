"""NTIRE 2022: rank sums, equal sums share the smallest place.

Source: the edition's report and released test script. Inferred from the published table: unrounded
figures are ranked, ties shared. Fields ``inferred`` and ``unverified`` say it in full.
"""

from __future__ import annotations

from esrbench.metrics import MIB
from esrbench.ranking.editions.conventions import (
    COLUMNS_BY_SCRIPT,
    DIV2K_VALID,
    FIVE_METRICS,
    FLOPS_BY_SCRIPT,
    RUNTIME,
    WHOLE_MEMORY,
)
from esrbench.ranking.formulas import RankSum
from esrbench.ranking.rule import Baseline, Rule, Track

NTIRE2022 = Rule(
    name="ntire2022",
    title="NTIRE 2022 Efficient Super-Resolution",
    source="NTIRE 2022 Challenge on Efficient Super-Resolution: Methods and Results, and the "
    "released test script.",
    gates=(DIV2K_VALID,),
    tracks=(
        Track(
            key="main",
            label="Main",
            title="Main (runtime)",
            formula=RankSum(metrics=("runtime_images",)),
        ),
        Track(
            key="sub1",
            label="Sub 1",
            title="Sub-track 1 (model complexity)",
            formula=RankSum(metrics=("params", "macs_ntire2022")),
        ),
        Track(
            key="sub2",
            label="Sub 2",
            title="Sub-track 2 (overall)",
            formula=RankSum(metrics=FIVE_METRICS),
        ),
    ),
    ties="Equal figures and equal sums share the smallest rank (1, 1, 3).",
    columns=COLUMNS_BY_SCRIPT,
    baseline=Baseline(
        title="IMDN",
        entry="imdn-challenge",
        values={
            "runtime_images": 50.86e-3,
            "params": 0.894e6,
            "macs_ntire2022": 58.53e9,
            "activations_ntire2022": 154.14e6,
            "pass_peak_bytes": 471.76 * MIB,
            "conv_calls_ntire2022": 43,
        },
        psnr={"DIV2K validation": 29.13, "DIV2K test": 28.78},
    ),
    inferred=(
        (
            "Rank sums over unrounded figures of ranked entries and shared ranks reproduce all "
            "published ranks but one: Alpan Team and MegSR both sum to 18 in sub-track 1 and are "
            "printed 10 and 9, the only tie that is not shared."
        ),
        (
            "As practised the test PSNR decided (28.65 dB ranked, 28.61 dB not) and six ranked "
            "entries lie below 29.00 dB on validation: published tables keep the printed verdict."
        ),
        (
            "The announced limit of the complexity track, no slower than IMDN (50.86 ms), was not "
            "enforced: its two winners took 140 and 165 ms."
        ),
    ),
    unverified=("The gate of 29.00 dB is as announced; no rule for the test PSNR was found.",),
    footnotes=(FLOPS_BY_SCRIPT, RUNTIME, WHOLE_MEMORY),
    device="NVIDIA Titan Xp, one unwarmed pass, mean of validation and test",
)
