"""One network by several backends, as a table."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from esrbench.metrics import MIB
from esrbench.protocol import size_text
from esrbench.records import Absent, Equality
from esrbench.records.deployment import EQUAL_DB, ONE_LEVEL_SHARE
from esrbench.reports.table import MISSING, Heading, Note, Section, Table, TableCell, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from esrbench.protocol import Protocol
    from esrbench.records import BackendFigures, Environment

FIGURES: Final = (
    *("SR", "PSNR - torch's [dB]", "Time / torch", "Memory [MiB]", "File [MiB]"),
    *("Build [s]", "Load [s]"),
)
"""Headings of a row, apart from network and backend."""


def describe(figures: BackendFigures) -> str:
    """A row in words, for those who wait for the table."""
    name = f"{figures.network} by {_name(figures)}"
    if isinstance(figures.deployment, Absent):
        return f"{name}: {figures.deployment.reason}"
    _, *cells = _row(figures)
    listed = (f"{heading} {cell}" for heading, cell in zip(FIGURES, cells, strict=True))
    lacks = f"; no ratio: {figures.ratio.reason}" if isinstance(figures.ratio, Absent) else ""
    return f"{name}: {', '.join(listed)}{lacks}"


def backends_table(
    figures: Sequence[BackendFigures],
    protocols: Sequence[Protocol],
    environment: Environment,
    data: str,
) -> Table:
    """The results of each backend for each network.

    Args:
        figures: figures of one network after the other.
        protocols: protocol of each network's figures, in the same order.
        environment: environment in which they ran.
        data: title of the images on which SR was compared.
    """
    sections = [
        Section(tuple(_row(each) for each in group), name)
        for name, group in groupby(figures, key=lambda each: each.network)
    ]
    return Table(
        headings=(
            Heading("Network"),
            Heading("Backend"),
            *(Heading(text, align="right") for text in FIGURES),
        ),
        sections=tuple(sections),
        caption="Backends against eager torch",
        notes=tuple(map(Note, _notes(figures, protocols, environment, data))),
        document=[each.model_dump(mode="json") for each in figures],
        records=[_record(each) for each in figures],
        label="tab:backends",
    )


def _row(figures: BackendFigures) -> tuple[TableCell, ...]:
    deployment = figures.deployment
    named = plain(_name(figures))
    if isinstance(deployment, Absent):
        return (named, *(plain(MISSING, "faint") for _ in FIGURES))
    graph, ratio = deployment.graph, figures.ratio
    equality = deployment.equality if isinstance(deployment.equality, Equality) else None
    difference = None if equality is None else equality.psnr_difference
    texts = (
        equality.step if equality else MISSING,
        MISSING if difference is None else f"{round(difference, 4) + 0.0:+.4f}",
        MISSING
        if isinstance(ratio, Absent)
        else f"{ratio.ratio:.3f} [{ratio.interval.low:.3f}, {ratio.interval.high:.3f}]",
        MISSING if figures.peak_bytes is None else f"{figures.peak_bytes / MIB:.0f}",
        MISSING if graph is None else f"{graph.file_bytes / MIB:.2f}",
        MISSING if graph is None else f"{graph.build_seconds:.1f}",
        f"{deployment.load_seconds:.2f}",
    )
    return (named, *map(plain, texts))


def _name(figures: BackendFigures) -> str:
    """The backend, and its precision where that is not float32."""
    other = "" if figures.precision == "fp32" else f", {figures.precision}"
    return figures.backend + other


def _record(figures: BackendFigures) -> dict[str, object]:
    """Unrounded figures in base units; ``missing`` says why there are none."""
    deployment, ratio = figures.deployment, figures.ratio
    record: dict[str, object] = figures.model_dump(include={"network", "backend", "precision"})
    if isinstance(deployment, Absent):
        return record | {"missing": deployment.reason}
    graph = deployment.graph
    equality = deployment.equality if isinstance(deployment.equality, Equality) else None
    timed = None if isinstance(ratio, Absent) else ratio
    parts = (deployment.equality, ratio)
    return record | {
        "equality": equality and equality.step,
        "psnr_difference": equality and equality.psnr_difference,
        "ratio": timed and timed.ratio,
        "ratio_low": timed and timed.interval.low,
        "ratio_high": timed and timed.interval.high,
        "peak_bytes": figures.peak_bytes,
        "graph_bytes": graph and graph.file_bytes,
        "build_seconds": graph and graph.build_seconds,
        "load_seconds": deployment.load_seconds,
        "missing": "; ".join(each.reason for each in parts if isinstance(each, Absent)),
    }


def _notes(
    figures: Sequence[BackendFigures],
    protocols: Sequence[Protocol],
    environment: Environment,
    data: str,
) -> Iterator[str]:
    """How the figures were measured, and why some are missing."""
    ran = [each.deployment for each in figures if not isinstance(each.deployment, Absent)]
    size = size_text(protocols[0].counted_input)
    versions = {name: version for each in ran for name, version in each.versions.items()}
    software = {"torch": environment.packages.get("torch", "absent"), **versions}
    listed = ", ".join(f"{name} {version}" for name, version in software.items())
    yield (
        f"On {environment.cpu}, {environment.threads} threads, fp32 unless another precision is "
        f"named; {listed}. SR is compared on {data}."
    )
    quantised = (each.forward.quantisation for each in protocols)
    yield from dict.fromkeys(f"int8: {each.describe()}" for each in quantised if each is not None)
    yield (
        f"SR is exact; or off by one level on at most {ONE_LEVEL_SHARE:.2%} of the values; or of "
        f"equal PSNR within {EQUAL_DB} dB; or different. If it is different, the backend is in "
        "another class than eager torch."
    )
    yield (
        f"Time is the median ratio of pairs of forwards at LR 3x{size} "
        "in one process, with its interval. Memory is the most that the worker's process held, "
        "PyTorch included."
    )
    for each in figures:
        if isinstance(each.deployment, Absent):
            yield f"{each.network} by {_name(each)}: {each.deployment.reason}."
        elif isinstance(each.ratio, Absent):
            yield f"{each.network} by {_name(each)} has no ratio: {each.ratio.reason}."
