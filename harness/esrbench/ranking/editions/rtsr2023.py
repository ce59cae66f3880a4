"""Real-time super-resolution 2023: PSNR gained over bicubic against the root of runtime.

Source: score notebook, runtime demo and published track 1 of the edition. Inferred: the rounding of
the gate. Fields ``inferred`` and ``unverified`` say it in full.
"""

from __future__ import annotations

from esrbench.ranking.formulas import RealTime
from esrbench.ranking.rule import Baseline, Gate, Rule, Track

RTSR2023 = Rule(
    name="rtsr2023",
    title="NTIRE 2023 Real-Time 4K Super-Resolution",
    scales=(2, 3),
    source="The edition's repository (score notebook, runtime demo) and its published track 1.",
    gates=(Gate(title="the same images", beats="bicubic"),),
    tracks=(Track(key="main", label="Score", title="Score", formula=RealTime()),),
    ties="No rule for ties is stated; equal scores share the smallest rank here.",
    columns=("psnr_rgb", "psnr_y", "runtime_images", "params"),
    baseline=Baseline(
        title="the organisers' baseline (track 1, x2)",
        values={"runtime_images": 7.09e-3, "params": 0.0445e6},
        psnr={"track 1 (x2)": 34.22},
    ),
    inferred=(
        (
            "The score reproduces all 23 teams of track 1 within 0.14 (0.7 %), the size of the "
            "rounding of PSNR to 2 decimals."
        ),
        "The gate's rounding to 2 decimals is that of the printed figures.",
    ),
    unverified=(
        (
            "The images are private: 4K, downscaled and JPEG-compressed at quality 90. PSNR and "
            "score on any other data are not comparable with the published ones."
        ),
        "The README's RTSRN in fp16, 29.93 dB and 13.28 ms, is of an unknown track.",
        "Published FLOPs name no counter and are not shown.",
    ),
    footnotes=(
        (
            "The score takes the PSNR of bicubic interpolation on the same images: run `bicubic` "
            "beside the networks."
        ),
        (
            "The edition ran fp16 without TensorRT on random inputs of the full frame (1080p x2, "
            "720p x3), 50 warm-ups and 244 repeats, scored under autocast."
        ),
    ),
    precision="fp16",
    device="NVIDIA RTX 3090, fp16, 244 repeats after 50 warm-ups, random inputs",
)
