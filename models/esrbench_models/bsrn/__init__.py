"""BSRN, first of NTIRE 2022 by parameters and FLOPs."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import ESA_RENAMES, ntire2022, ntire2022_weights

_LINEAR_IN_ESA = ("squeeze", "shortcut", "expand")

_RENAMES = (
    ("fea_conv", "head"),
    *((f"B{number}", f"blocks.{number - 1}") for number in range(1, 6)),
    *((f"c{step}_d", f"distill{step}.linear") for step in range(1, 4)),
    *((f"c{step}_r", f"residual{step}") for step in range(1, 4)),
    ("c4", "distill4"),
    ("c5", "merge.linear"),
    ("conv_out", "mix.linear"),
    ("cw", "weights"),
    *(
        (f"esa.{theirs}", f"attention.{ours}{'.linear' if ours in _LINEAR_IN_ESA else ''}")
        for theirs, ours in ESA_RENAMES
    ),
    ("pw", "pointwise.linear"),
    ("dw", "depthwise"),
    ("c1", "fusion.linear"),
    ("c2", "refine"),
    ("upsampler.upsampleOneStep.0", "upsampler.conv"),
)

ENTRIES = (
    ModelDescriptor(
        name="bsrn",
        display_name="BSRN",
        summary="BSRN, model complexity winner of NTIRE 2022 (team 18, XPixel)",
        scales=(4,),
        factory="esrbench_models.bsrn.network:BSRN",
        min_lr_size=15,
        paper=Paper(
            title="Blueprint Separable Residual Network for Efficient Image Super-Resolution",
            venue="NTIRE workshop, CVPR",
            year=2022,
            key="li2022bsrn",
        ),
        licence="MIT",
        # The table's 9.50 G are left out: the challenge's counter gives 2.02 G, because it
        # misreads linear layers, and 9.43 G are what runs.
        published=ntire2022(29.01, (140.47, 0.156, None, 65.76, 729.94, 43)),
        weights=(
            ntire2022_weights(
                "team18_bsrn.pth",
                size=699_603,
                sha256="29ac393975ec709912282da97765daf722d9efd40589f4abcb95b3a407f62e40",
                key="params",
                renames=_RENAMES,
            ),
        ),
    ),
)
"""BSRN as entered in the challenge."""
