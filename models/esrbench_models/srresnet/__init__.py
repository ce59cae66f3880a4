"""MSRResNet, the baseline of AIM 2019 and 2020."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper, PublishedFigure
from esrbench_models.published import AIDN_TABLE, DIV2K_VALIDATION, flops_g, params_k

_AIM2019 = "AIM 2019 constrained SR challenge, baseline"

ENTRIES = (
    ModelDescriptor(
        name="srresnet",
        summary="MSRResNet, baseline of AIM 2019/2020; no released weights",
        scales=(2, 3, 4),
        factory="esrbench_models.srresnet.network:SRResNet",
        paper=Paper(
            title=(
                "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial "
                "Network"
            ),
            venue="CVPR",
            year=2017,
        ),
        licence="MIT",
        # The AIDN paper's 101.44 G and 121.43 G at x2 and x3 are left out: the counter that
        # gives its x4 figure gives 97.24 G and 122.01 G.
        published=(
            *params_k({2: 1370, 3: 1554}, AIDN_TABLE),
            *flops_g({4: 166.36}, AIDN_TABLE),
            PublishedFigure(metric="params", scale=4, value=1_517_571, source=_AIM2019),
            PublishedFigure(
                metric="psnr_rgb", scale=4, value=29.00, source=_AIM2019, data=DIV2K_VALIDATION
            ),
            PublishedFigure(metric="runtime_images", scale=4, value=0.170, source=_AIM2019),
            PublishedFigure(
                metric="activations_ntire2022",
                scale=4,
                value=292.55e6,
                source="AIM 2020 efficient SR challenge, baseline, as quoted by an entrant",
            ),
        ),
    ),
)
"""MSRResNet: SRResNet without batch normalisation."""
