"""What several editions share: how figures were taken, columns and gates."""

from __future__ import annotations

from esrbench.ranking.rule import Gate

FLOPS_BY_SCRIPT = (
    "FLOPs are multiply-accumulates plus one per ReLU-family module output, as the 2022 script "
    "counts them; Acts are elements of convolution outputs; #Conv counts calls."
)
FLOPS_BY_FVCORE = (
    "FLOPs are multiply-accumulates as fvcore counts them, which sees no custom operators; Acts "
    "are elements of convolution outputs; #Conv counts calls."
)
RUNTIME = (
    "Runtime is the mean over images of per-image medians, warmed up. Published runtimes are from "
    "other hardware and unwarmed passes: do not compare."
)
WHOLE_MEMORY = (
    "GPU memory is the most allocated in the whole pass over the images, as the challenge read it; "
    "records keep each forward's own peak too."
)

FIVE_METRICS = (
    "runtime_images",
    "params",
    "macs_ntire2022",
    "activations_ntire2022",
    "pass_peak_bytes",
)
"""Metrics of the overall rankings of 2022 and 2023."""

COLUMNS_BY_SCRIPT = ("psnr_rgb", *FIVE_METRICS, "conv_calls_ntire2022")
COLUMNS_BY_FVCORE = tuple(
    "macs_fvcore" if metric == "macs_ntire2022" else metric for metric in COLUMNS_BY_SCRIPT
)

DIV2K_VALID = Gate(data="div2k-valid", title="DIV2K validation", minimum=29.0)
DIV2K_LSDIR = (
    Gate(data="div2k-lsdir-valid", title="DIV2K_LSDIR validation", minimum=26.90),
    Gate(data="div2k-lsdir-test", title="DIV2K_LSDIR test", minimum=26.99),
)
