"""Weights that challenges released, in one place: the address and licence of each edition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from esrbench.entries.registry import ReleasedWeights

if TYPE_CHECKING:
    from collections.abc import Iterable

_NTIRE2022 = (
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
        url=f"{_NTIRE2022}/{filename}",
        bytes=size,
        sha256=sha256,
        key=key,
        prefix=prefix,
        data_range=data_range,
        renames=tuple(renames),
        licence="MIT (NTIRE 2022 Challenge on Efficient SR Organizers)",
    )
