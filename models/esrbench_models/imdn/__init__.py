"""IMDN, the paper's six blocks, and the eight-block baseline of the challenges."""

from __future__ import annotations

from functools import partial

from esrbench.entries.descriptor import ModelDescriptor, Paper, ReleasedWeights
from esrbench_models.published import (
    AIDN_TABLE,
    figure,
    flops_g,
    ntire2022,
    ntire2022_weights,
    params_k,
)

_PAPER = Paper(
    title=("Lightweight Image Super-Resolution with Information Multi-distillation Network"),
    venue="ACM Multimedia",
    year=2019,
    key="hui2019imdn",
)
_PAPER_TABLE = "IMDN paper (ACM MM 2019), benchmark table"

_BLOCKS = range(1, 7)
_RENAMES = (
    ("fea_conv", "head"),
    *((f"IMDB{number}", f"blocks.{number - 1}") for number in _BLOCKS),
    ("c.0", "fusion"),
    ("LR_conv", "refine"),
    ("upsampler.0", "upsampler.conv"),
    *((f"c{step}", f"extract{step}") for step in range(1, 5)),
    ("c5", "merge"),
    ("cca.conv_du", "attention.gate"),
)
_CHALLENGE_RENAMES = (
    ("model.0", "head"),
    *((f"model.1.sub.{index}", f"blocks.{index}") for index in range(8)),
    ("model.1.sub.8", "refine"),
    ("model.2", "upsampler.conv"),
    *((f"conv{step}.0", f"extract{step}") for step in range(1, 4)),
    ("conv4", "extract4"),
    ("conv1x1", "merge"),
)

_SCORES = {
    (2, "set5"): (38.00, 0.9605),
    (2, "set14"): (33.63, 0.9177),
    (3, "set5"): (34.36, 0.9270),
    (3, "set14"): (30.32, 0.8417),
    (4, "set5"): (32.21, 0.8948),
    (4, "set14"): (28.58, 0.7811),
}
"""Printed PSNR-Y (dB) and SSIM-Y by scale and set; LR by MATLAB with mirrored borders."""


def _released(scale: int, size: int, sha256: str) -> ReleasedWeights:
    filename = f"IMDN_x{scale}.pth"
    commit = "8f158e6a5ac9db6e5857d9159fd4a6c4214da574"
    return ReleasedWeights(
        scale=scale,
        filename=filename,
        url=f"https://raw.githubusercontent.com/Zheng222/IMDN/{commit}/checkpoints/{filename}",
        bytes=size,
        sha256=sha256,
        prefix="module.",
        renames=_RENAMES,
        licence="none stated",
    )


_imdn = partial(
    ModelDescriptor, factory="esrbench_models.imdn.network:IMDN", paper=_PAPER, licence="MIT"
)

ENTRIES = (
    _imdn(
        name="imdn",
        display_name="IMDN",
        summary="IMDN, six blocks as in its paper",
        scales=(2, 3, 4),
        # The AIDN paper's 58.53 G at x4 belong to imdn-challenge; its 45.23 G at x2 are not
        # reproduced by the counter that gives the others (45.24 G).
        published=(
            *params_k({2: 694, 3: 703, 4: 715}, AIDN_TABLE),
            *flops_g({3: 45.81}, AIDN_TABLE),
            *(
                figure(metric, scale, value, _PAPER_TABLE, data=data)
                for (scale, data), scores in _SCORES.items()
                for metric, value in zip(("psnr_y", "ssim_y"), scores, strict=True)
            ),
        ),
        weights=(
            _released(
                2,
                2_796_052,
                "740b39653592bd3f49955a21cd9e16f2d37f2c413368cc09327601b8fbe42ce1",
            ),
            _released(
                3,
                2_830_672,
                "11b1716a19bc16e5e353e1db798d476169338e631eb170c82d765559888cb028",
            ),
            _released(
                4,
                2_879_112,
                "e660c38221147217a136debeb99eb304d62d9c0f73ac421ed66281b619719714",
            ),
        ),
    ),
    _imdn(
        name="imdn-challenge",
        display_name="IMDN",
        summary="IMDN baseline of AIM 2020 and NTIRE 2022: eight blocks, no CCA, no fusion",
        scales=(4,),
        options={"blocks": 8, "attention": False, "fusion": False},
        published=ntire2022(29.13, (50.86, 0.894, 58.53, 154.14, 471.76, 43)),
        weights=(
            ntire2022_weights(
                "imdn_baseline.pth",
                size=3_589_744,
                sha256="115b4cc557eba9daaf1a6543c4858014c7e2a410655aafef7c8348ae54acc203",
                renames=_CHALLENGE_RENAMES,
            ),
        ),
    ),
)
"""IMDN at both sizes."""
