"""RLFN, winner of NTIRE 2022's main track."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import figure, ntire2022, ntire2022_weights

_RENAMES = (
    ("fea_conv", "head"),
    *((f"B{number}", f"blocks.{number - 1}") for number in range(1, 5)),
    *((f"c{step}_r", f"extract.{2 * step - 2}") for step in range(1, 4)),
    ("c5", "merge"),
    ("LR_conv", "refine"),
    ("upsampler.0", "upsampler.conv"),
    ("esa.conv1", "attention.squeeze"),
    ("esa.conv_f", "attention.shortcut"),
    ("esa.conv2", "attention.shrink"),
    ("esa.conv3", "attention.refine.0"),
    ("esa.conv4", "attention.expand"),
)

ENTRIES = (
    ModelDescriptor(
        name="rlfn",
        display_name="RLFN",
        summary="RLFN, winner of NTIRE 2022 (team 4, ByteESR) and baseline of NTIRE 2024",
        scales=(4,),
        factory="esrbench_models.rlfn.network:RLFN",
        min_lr_size=15,
        paper=Paper(
            title="Residual Local Feature Network for Efficient Super-Resolution",
            venue="NTIRE workshop, CVPR",
            year=2022,
            key="kong2022rlfn",
        ),
        licence="MIT",
        published=(
            *ntire2022(29.00, (27.11, 0.317, 19.70, 80.05, 377.91, 39)),
            figure("macs_fvcore", 4, 19.67e9, "NTIRE 2024 efficient SR challenge, baseline"),
        ),
        weights=(
            ntire2022_weights(
                "team04_rlfn.pth",
                size=1_292_283,
                sha256="ca81b7757708ce749ac3766589690db6c2729961d026c0137e7659924ec36622",
                data_range=255.0,
                renames=_RENAMES,
            ),
        ),
    ),
)
"""RLFN as entered in the challenge."""
