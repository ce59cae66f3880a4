"""The metrics, one row each: tables, rankings and gates read only this table.

Values are kept in base units (counts, bytes, seconds, dB); ``divisor`` and ``digits`` apply
when rendering. "FLOPs" is the field's word for multiply-accumulates: keys say ``macs``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MIB = 1024.0**2


@dataclass(frozen=True, slots=True)
class Metric:
    """One measurable quantity.

    Attributes:
        key: identifier in records.
        label: table heading, without the unit.
        unit: unit shown after division by ``divisor``; empty for dimensionless values.
        better: direction in which the value improves.
        deterministic: equal inputs give equal values.
        tolerance: absolute difference in base units within which values count as equal
            (deterministic metrics only; noisy ones are judged by their intervals).
        divisor: base units per shown unit.
        digits: decimals shown.
    """

    key: str
    label: str
    unit: str
    better: Literal["lower", "higher"]
    deterministic: bool
    tolerance: float
    divisor: float
    digits: int

    @property
    def heading(self) -> str:
        """Label with its unit in brackets."""
        return f"{self.label} [{self.unit}]" if self.unit else self.label

    def format(self, value: float) -> str:
        """Render a value given in base units, without its unit."""
        return f"{value / self.divisor:.{self.digits}f}"


def _count(key: str, label: str, unit: str, divisor: float, digits: int) -> Metric:
    return Metric(key, label, unit, "lower", True, 0.0, divisor, digits)


def _score(key: str, label: str, unit: str, tolerance: float, digits: int) -> Metric:
    return Metric(key, label, unit, "higher", True, tolerance, 1.0, digits)


def _noisy(key: str, label: str, unit: str, divisor: float, digits: int) -> Metric:
    return Metric(key, label, unit, "lower", False, 0.0, divisor, digits)


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        _score("psnr_rgb", "PSNR", "dB", 1e-4, 2),
        _score("psnr_y", "PSNR-Y", "dB", 1e-4, 2),
        _score("ssim_y", "SSIM-Y", "", 1e-5, 4),
        _noisy("runtime_images", "Runtime", "ms", 1e-3, 2),
        _noisy("runtime_with_bicubic", "Runtime with bicubic input", "ms", 1e-3, 2),
        _noisy("runtime_fixed", "Runtime at fixed input", "ms", 1e-3, 2),
        _noisy("runtime_ratio", "Runtime / baseline", "", 1.0, 3),
        _noisy("runtime_trusted", "Runtime from outside", "ms", 1e-3, 2),
        _noisy("cold_start", "Cold start", "ms", 1e-3, 2),
        _count("params", "Params", "M", 1e6, 3),
        _count("buffer_elements", "Buffers", "", 1.0, 0),
        _count("weights_bytes", "Weights file", "MiB", MIB, 2),
        _count("macs_ntire2022", "FLOPs", "G", 1e9, 2),
        _count("macs_fvcore", "FLOPs (fvcore)", "G", 1e9, 2),
        _count("macs_ptflops", "FLOPs (ptflops)", "G", 1e9, 2),
        _count("macs_aten", "FLOPs (aten)", "G", 1e9, 2),
        _count("activations_ntire2022", "Acts", "M", 1e6, 2),
        _count("activations_aten", "Acts (aten)", "M", 1e6, 2),
        _count("conv_calls_ntire2022", "#Conv", "", 1.0, 0),
        _count("conv_calls_aten", "#Conv (aten)", "", 1.0, 0),
        _count("effective_constants", "Constants used", "M", 1e6, 3),
        _count("predicted_peak_bytes", "GPU Mem. predicted", "MiB", MIB, 2),
        _noisy("peak_bytes", "GPU Mem.", "MiB", MIB, 2),
        _noisy("pass_peak_bytes", "GPU Mem. of the whole pass", "MiB", MIB, 2),
    )
}
"""Every metric by key, in table order."""
