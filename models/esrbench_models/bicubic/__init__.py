"""Bicubic interpolation, the baseline that every network must beat."""

from __future__ import annotations

from esrbench.entries.descriptor import ModelDescriptor, Paper

ENTRIES = (
    ModelDescriptor(
        name="bicubic",
        display_name="Bicubic",
        summary="MATLAB's imresize, bicubic; the interpolation baseline, never ranked",
        scales=(2, 3, 4),
        factory="esrbench_models.bicubic.network:Bicubic",
        role="floor",
        paper=Paper(
            title="Cubic convolution interpolation for digital image processing",
            venue="IEEE Transactions on Acoustics, Speech, and Signal Processing",
            year=1981,
            key="keys1981cubic",
        ),
        licence="MIT",
    ),
)
"""Bicubic interpolation, without parameters."""
