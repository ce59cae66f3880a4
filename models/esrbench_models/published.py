"""What was published of networks: printed figures in base units, and released weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.entries.descriptor import PublishedFigure, ReleasedWeights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DIV2K_VALIDATION = "div2k-valid"
AIDN_TABLE = "AIDN paper (NTIRE 2022), table 3"
_NTIRE2022 = "NTIRE 2022 efficient SR challenge, results table"
_NTIRE2026 = "NTIRE 2026 efficient SR challenge, results file"
_MIB = 1024.0**2
_NTIRE2022_ZOO = (
    "https://raw.githubusercontent.com/ofsoundof/NTIRE2022_ESR/"
    "e95ba4a4916bb13d6348f7ee172827e2452e8a31/model_zoo"
)

ESA_RENAMES = (
    ("conv1", "squeeze"),
    ("conv_f", "shortcut"),
    ("conv2", "shrink"),
    ("conv_max", "refine.0"),
    ("conv3", "refine.2"),
    ("conv3_", "refine.4"),
    ("conv4", "expand"),
)
"""Names within an ESA of three convolutions, theirs and ours."""

DISTILLATION_RENAMES = (
    ("fea_conv", "head"),
    *((f"B{number}", f"blocks.{number - 1}") for number in range(1, 5)),
    ("c.0", "fusion"),
    ("LR_conv", "refine"),
    ("upsampler.0", "upsampler.conv"),
)
"""Names around the four blocks of RFDN and ARFDN, theirs and ours."""


def ntire2022(
    *,
    psnr: float,
    milliseconds: float,
    params_m: float,
    flops_g: float | None,
    acts_m: float,
    memory_m: float,
    convs: int,
) -> tuple[PublishedFigure, ...]:
    """One row of the challenge's table (x4), as printed.

    Args:
        psnr: dB on DIV2K validation.
        milliseconds: mean of the validation and test runtimes on a Titan Xp.
        params_m: millions of parameters.
        flops_g: 1e9 of the challenge counter's FLOPs for a 256x256 LR image; None for a row
            whose FLOPs are not that counter's.
        acts_m: 1e6 elements of convolution outputs, same image.
        memory_m: peak memory on DIV2K validation; printed "[M]", computed in MiB.
        convs: convolutions executed.
    """
    values = {
        "params": params_m * 1e6,
        **({} if flops_g is None else {"macs_ntire2022": flops_g * 1e9}),
        "activations_ntire2022": acts_m * 1e6,
        "conv_calls_ntire2022": float(convs),
        "peak_bytes": memory_m * _MIB,
        "runtime_images": milliseconds / 1e3,
    }
    quality = PublishedFigure(
        metric="psnr_rgb", scale=4, value=psnr, source=_NTIRE2022, data=DIV2K_VALIDATION
    )
    return (
        quality,
        *(
            PublishedFigure(metric=metric, scale=4, value=value, source=_NTIRE2022)
            for metric, value in values.items()
        ),
    )


def ntire2026(
    *,
    milliseconds: float,
    params_m: float,
    flops_g: float,
    acts_m: float,
    memory_m: float,
    convs: int,
) -> tuple[PublishedFigure, ...]:
    """One row of the challenge's results file (x4), to the last digit given.

    Args:
        milliseconds: mean of the validation and test runtimes on an RTX A6000.
        params_m: millions of parameters.
        flops_g: 1e9 of fvcore's FLOPs for a 256x256 LR image.
        acts_m: 1e6 elements of convolution outputs by the rule of 2022, same image.
        memory_m: peak memory in MiB on the challenge's validation set (DIV2K and LSDIR).
        convs: convolutions executed.
    """
    values = {
        "params": params_m * 1e6,
        "macs_fvcore": flops_g * 1e9,
        "activations_ntire2022": acts_m * 1e6,
        "conv_calls_ntire2022": float(convs),
        "peak_bytes": memory_m * _MIB,
        "runtime_images": milliseconds / 1e3,
    }
    return tuple(
        PublishedFigure(metric=metric, scale=4, value=value, source=_NTIRE2026)
        for metric, value in values.items()
    )


def params_k(thousands: Mapping[int, int], source: str) -> tuple[PublishedFigure, ...]:
    """Parameters printed in thousands, by scale."""
    return tuple(
        PublishedFigure(metric="params", scale=scale, value=value * 1e3, source=source)
        for scale, value in thousands.items()
    )


def flops_g(billions: Mapping[int, float], source: str) -> tuple[PublishedFigure, ...]:
    """FLOPs by the NTIRE 2022 counter at a 256x256 LR image, printed in 1e9, by scale."""
    return tuple(
        PublishedFigure(metric="macs_ntire2022", scale=scale, value=value * 1e9, source=source)
        for scale, value in billions.items()
    )


def ntire2022_weights(
    filename: str,
    *,
    size: int,
    sha256: str,
    renames: Iterable[tuple[str, str]],
    key: str | None = None,
    prefix: str = "",
    data_range: float = 1.0,
) -> ReleasedWeights:
    """A checkpoint (x4) in the model zoo of the NTIRE 2022 challenge.

    Args:
        filename: name in the zoo.
        size: bytes of the file.
        sha256: its hash.
        renames: (theirs, ours) parts of names.
        key: name under which the state dict is nested, or None.
        prefix: prefix of every key.
        data_range: value of white.
    """
    return ReleasedWeights(
        scale=4,
        filename=filename,
        url=f"{_NTIRE2022_ZOO}/{filename}",
        bytes=size,
        sha256=sha256,
        key=key,
        prefix=prefix,
        data_range=data_range,
        renames=tuple(renames),
        licence="MIT (NTIRE 2022 Challenge on Efficient SR Organizers)",
    )
