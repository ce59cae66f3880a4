"""RFDN, the winner of AIM 2020 and baseline of NTIRE 2022 and 2023."""

from __future__ import annotations

from harness.catalog.registry import ModelDescriptor, Paper, ReleasedWeights
from models.entries.published import ntire2022

_RENAMES = (
    ("fea_conv", "head"),
    *((f"B{number}", f"blocks.{number - 1}") for number in range(1, 5)),
    ("c.0", "fusion"),
    ("LR_conv", "refine"),
    ("upsampler.0", "upsampler.conv"),
    *((f"c{step}_d", f"distill{step}") for step in range(1, 4)),
    *((f"c{step}_r", f"residual{step}") for step in range(1, 4)),
    ("c4", "distill4"),
    ("c5", "merge"),
    ("esa.conv1", "attention.squeeze"),
    ("esa.conv_f", "attention.shortcut"),
    ("esa.conv2", "attention.shrink"),
    ("esa.conv_max", "attention.refine.0"),
    ("esa.conv3", "attention.refine.2"),
    ("esa.conv3_", "attention.refine.4"),
    ("esa.conv4", "attention.expand"),
)

ENTRIES = (
    ModelDescriptor(
        name="rfdn",
        summary="RFDN, winner of AIM 2020 and baseline of NTIRE 2022/2023",
        scales=(2, 3, 4),
        factory="models.rfdn:RFDN",
        min_lr_size=15,
        paper=Paper(
            title="Residual Feature Distillation Network for Lightweight Image Super-Resolution",
            venue="AIM workshop, ECCV",
            year=2020,
        ),
        licence="MIT",
        published=ntire2022(
            psnr=29.04,
            milliseconds=41.97,
            params_m=0.433,
            flops_g=27.10,
            acts_m=112.03,
            memory_m=788.13,
            convs=64,
        ),
        weights=(
            ReleasedWeights(
                scale=4,
                filename="rfdn_baseline.pth",
                url=(
                    "https://raw.githubusercontent.com/ofsoundof/NTIRE2022_ESR/"
                    "e95ba4a4916bb13d6348f7ee172827e2452e8a31/model_zoo/rfdn_baseline.pth"
                ),
                bytes=1_754_927,
                sha256="11af8ec8ebd68689e90ef1e29044f9804c72d3bd9f7573820b7b26035782760c",
                data_range=255.0,
                renames=_RENAMES,
                licence="MIT (NTIRE 2022 Challenge on Efficient SR Organizers)",
            ),
        ),
    ),
)
"""RFDN as released (four blocks, ESA); the RFDN paper's 534/541/550 K network is another."""
