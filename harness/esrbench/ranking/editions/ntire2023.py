"""NTIRE 2023: rank sums like 2022's, ties separated by a chain of stable sorts.

Source: the edition's published table and released test script. Inferred from the table: the rule
for ties. Fields ``inferred`` and ``unverified`` say it in full.
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

NTIRE2023 = Rule(
    name="ntire2023",
    title="NTIRE 2023 Efficient Super-Resolution",
    source="NTIRE 2023 Challenge on Efficient Single-Image Super-Resolution: published table and "
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
            key="complexity",
            label="Complexity",
            title="Model complexity",
            formula=RankSum(metrics=("params", "macs_ntire2022")),
            ties_by="main",
        ),
        Track(
            key="overall",
            label="Overall",
            title="Overall",
            formula=RankSum(metrics=FIVE_METRICS),
            ties_by="complexity",
        ),
    ),
    ties="Equal sums of model complexity keep the order of runtime, equal overall sums that of "
    "model complexity, as a chain of stable sorts does.",
    columns=COLUMNS_BY_SCRIPT,
    baseline=Baseline(
        title="RFDN",
        entry="rfdn",
        values={
            "runtime_images": 35.54e-3,
            "params": 0.433e6,
            "macs_ntire2022": 27.10e9,
            "activations_ntire2022": 112.03e6,
            "pass_peak_bytes": 788.13 * MIB,
            "conv_calls_ntire2022": 64,
        },
        psnr={"DIV2K validation": 29.04, "DIV2K/LSDIR test": 27.11},
    ),
    inferred=(
        "The rule for ties is read off the published table, all of whose ranks it reproduces.",
        (
            "The lowest ranked entry has 28.91 dB on validation and 26.95 dB on test, the best "
            "rejected one 28.81 and 26.88: published tables keep the printed verdict."
        ),
    ),
    unverified=(
        "The gate of 29.00 dB is 2022's; what 2023 announced was not found.",
        "The GPU of the published runtimes is not known.",
    ),
    footnotes=(FLOPS_BY_SCRIPT, RUNTIME, WHOLE_MEMORY),
    device="an unknown GPU, one unwarmed pass, mean of validation and test",
)
