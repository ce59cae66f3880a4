"""AIM 2020: five metrics beside MSRResNet's; how they made one ranking was not found.

Source: the test script of the challenge; the baseline's figures from an entrant's README. Inferred:
the gate. Fields ``inferred`` and ``unverified`` say it in full.
"""

from __future__ import annotations

from esrbench.metrics import MIB
from esrbench.ranking.editions.conventions import DIV2K_VALID
from esrbench.ranking.rule import Baseline, Rule

AIM2020 = Rule(
    name="aim2020",
    title="AIM 2020 Efficient Super-Resolution",
    source="The challenge's test script (main_challenge_sr.py in the KAIR repository); figures of "
    "the baseline are from an entrant's README.",
    gates=(DIV2K_VALID,),
    tracks=(),
    ranked_alone=(
        "runtime_images",
        "params",
        "macs_ntire2022",
        "activations_ntire2022",
        "peak_bytes",
    ),
    ties="Nothing is known of ties; equal figures share the smallest rank here.",
    columns=(
        "psnr_rgb",
        "runtime_images",
        "params",
        "macs_ntire2022",
        "activations_ntire2022",
        "peak_bytes",
        "conv_calls_ntire2022",
    ),
    baseline=Baseline(
        title="MSRResNet",
        entry="srresnet",
        values={
            "runtime_images": 0.114,
            "params": 1.517e6,
            "macs_ntire2022": 166.36e9,
            "activations_ntire2022": 292.55e6,
            "peak_bytes": 610 * MIB,
        },
        psnr={"DIV2K validation": 29.00, "DIV2K test": 28.70},
    ),
    inferred=("The gate is the baseline's PSNR, which entries had to keep.",),
    unverified=(
        (
            "How the five metrics made one ranking was not found: each is ranked by itself and "
            "there is no total."
        ),
        "The gate's rounding to 2 decimals is that of the later editions.",
        "The baseline's memory is printed as 610 M; that these are MiB is assumed.",
    ),
    footnotes=(
        (
            "FLOPs are multiply-accumulates plus one per ReLU-family module output; Acts are "
            "elements of convolution outputs; #Conv counts calls."
        ),
        (
            "GPU memory is the largest peak of a forward on the images; the edition took it at LR "
            "256x256, so its 610 M do not compare."
        ),
    ),
    device="an unknown GPU",
)
