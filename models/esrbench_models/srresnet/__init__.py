"""MSRResNet, the baseline of AIM 2019 and 2020."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper
from esrbench_models.published import AIDN_TABLE, DIV2K_VALIDATION, figure, flops_g, params_k

_AIM2019 = "AIM 2019 constrained SR challenge, baseline"
_AIM2020 = "AIM 2020 efficient SR challenge, baseline, as quoted by an entrant"

ENTRIES = (
    ModelDescriptor(
        name="srresnet",
        display_name="SRResNet",
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
            key="ledig2017srresnet",
        ),
        licence="MIT",
        # The AIDN paper's 101.44 G and 121.43 G at x2 and x3 are left out: the counter that
        # gives its x4 figure gives 97.24 G and 122.01 G.
        published=(
            *params_k({2: 1370, 3: 1554}, AIDN_TABLE),
            *flops_g({4: 166.36}, AIDN_TABLE),
            figure("params", 4, 1_517_571, _AIM2019),
            figure("psnr_rgb", 4, 29.00, _AIM2019, data=DIV2K_VALIDATION),
            figure("runtime_images", 4, 0.170, _AIM2019),
            figure("activations_ntire2022", 4, 292.55e6, _AIM2020),
        ),
    ),
)
"""MSRResNet: SRResNet without batch normalisation."""
