"""Published facts about networks: printed figures in base units, and released weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.entries.descriptor import PublishedFigure, ReleasedWeights

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DIV2K_VALIDATION = "div2k-valid"
AIDN_TABLE = "AIDN paper (NTIRE 2022), table 3"
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
    psnr: float, row: tuple[float, float, float | None, float, float, int]
) -> tuple[PublishedFigure, ...]:
    """One row of the results table of NTIRE 2022 (x4), as printed.

    Args:
        psnr: dB on DIV2K validation.
        row: mean of the validation and test runtimes on a Titan Xp [ms], parameters [M], FLOPs of
            the challenge's counter for a 256x256 LR image [G] or None for a row whose FLOPs are
            not that counter's, elements of convolution outputs for that image [M], peak memory on
            DIV2K validation ("[M]", computed in MiB), convolutions executed.
    """
    source = "NTIRE 2022 efficient SR challenge, results table"
    quality = figure("psnr_rgb", 4, psnr, source, data=DIV2K_VALIDATION)
    return quality, *_challenge(row, "macs_ntire2022", source)


def ntire2026(row: tuple[float, float, float, float, float, int]) -> tuple[PublishedFigure, ...]:
    """One row of the results file of NTIRE 2026 (x4), to the last digit given.

    Args:
        row: mean of the validation and test runtimes on an RTX A6000 [ms], parameters [M], fvcore's
            FLOPs for a 256x256 LR image [G], elements of convolution outputs by the rule of 2022
            for that image [M], peak memory on the challenge's validation set, DIV2K and LSDIR
            [MiB], convolutions executed.
    """
    return _challenge(row, "macs_fvcore", "NTIRE 2026 efficient SR challenge, results file")


def _challenge(
    row: tuple[float, float, float | None, float, float, int], counter: str, source: str
) -> tuple[PublishedFigure, ...]:
    milliseconds, params_m, flops_g, acts_m, memory_m, convs = row
    values = {
        "params": params_m * 1e6,
        **({} if flops_g is None else {counter: flops_g * 1e9}),
        "activations_ntire2022": acts_m * 1e6,
        "conv_calls_ntire2022": float(convs),
        "peak_bytes": memory_m * _MIB,
        "runtime_images": milliseconds / 1e3,
    }
    return tuple(figure(metric, 4, value, source) for metric, value in values.items())


def params_k(thousands: Mapping[int, int], source: str) -> tuple[PublishedFigure, ...]:
    """Parameters printed in thousands, by scale."""
    return tuple(figure("params", scale, each * 1e3, source) for scale, each in thousands.items())


def flops_g(billions: Mapping[int, float], source: str) -> tuple[PublishedFigure, ...]:
    """FLOPs by the NTIRE 2022 counter at a 256x256 LR image, printed in 1e9, by scale."""
    return tuple(
        figure("macs_ntire2022", scale, each * 1e9, source) for scale, each in billions.items()
    )


def figure(
    metric: str, scale: int, value: float, source: str, *, data: str | None = None
) -> PublishedFigure:
    """One printed figure in base units; ``data`` names the data set of a quality figure."""
    return PublishedFigure(metric=metric, scale=scale, value=value, source=source, data=data)


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
        data_range: largest value of a pixel that the weights expect.
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
