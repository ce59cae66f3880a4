"""Sources of a comparison table: the newest comparable run for each cell, and published figures."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from esrbench.entries.descriptor import PublishedFigure
from esrbench.errors import UsageError
from esrbench.files import replace_file
from esrbench.metrics import METRICS
from esrbench.protocol import Protocol
from esrbench.ranking.selection import of_class, select_comparable, worth
from esrbench.records import Notice, RunRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from esrbench.entries.registry import Registry

RunKey = tuple[str, int, str]
"""Entry, scale and data set of a run."""

AT_1280X720 = "macs_1280x720"
DEFAULT_COLUMNS = ("params", "macs_ntire2022", AT_1280X720, "psnr_y", "ssim_y")
"""Default columns; a table leaves out ``AT_1280X720`` if it would be empty."""
DESIGNS: Final = frozenset({"latency", "energy"})
"""Fields of a protocol on which only the metrics of that source depend."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to compare.

    Attributes:
        entries: names in the table's order; empty for all, ordered by parameters.
        data: names of data sets in order; empty for all with runs.
        scales: scales in order; empty for all with runs.
        columns: keys of ``METRICS``.
        forward_class: label of a ``ForwardPolicy``; None for the newest run's.
        published: show published figures of networks that were not run.
    """

    entries: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    forward_class: str | None = None
    published: bool = False

    def names(self, record: RunRecord) -> bool:
        """Whether the entry, data set and scale of a record are wanted."""
        return (
            (not self.entries or record.entry.name in self.entries)
            and (not self.data or record.data.name in self.data)
            and (not self.scales or record.entry.scale in self.scales)
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Runs by entry, scale and data set.

    Attributes:
        runs: the newest comparable run of each key, however it ended.
        incomparable: keys for which no run is comparable.
        notices: notices about runs that were left out.
    """

    runs: dict[RunKey, RunRecord]
    incomparable: frozenset[RunKey]
    notices: tuple[Notice, ...]

    def newest(self, scale: int, data: str) -> RunRecord | None:
        """The newest chosen run on a data set at a scale; if there is none, the newest of all."""
        networks = (run for run in self.runs.values() if run.entry.role != "images")
        runs = sorted(networks, key=lambda run: run.created)
        here = [run for run in runs if (run.entry.scale, run.data.name) == (scale, data)]
        return next(reversed(here or runs), None)


def run_key(record: RunRecord) -> RunKey:
    """Entry, scale and data set of a run."""
    return record.entry.name, record.entry.scale, record.data.name


def key_text(key: RunKey) -> str:
    """A key in words."""
    entry, scale, data = key
    return f"{entry} on {data} x{scale}"


def choose_runs(records: Sequence[RunRecord], wanted: Wanted) -> Choice:
    """The newest comparable run of each entry, data set and scale.

    All cells share the forward class, the definition of scores, and the inputs of complexity and
    memory of the newest run. All cells of an entry at a scale share its weights and factory.
    Within a data set and scale, ``select_comparable`` decides, as for leaderboards. One exception:
    if no runtime is shown, runs may differ in how they were timed. The same applies to energy.

    Raises:
        UsageError: there are runs, but none of the wanted class.
    """
    known = sorted(filter(wanted.names, records), key=lambda record: record.created)
    if wanted.forward_class is not None and known:
        known = of_class(known, wanted.forward_class, mixed=True)
    left_out: dict[RunKey, str] = {}
    alike = _of_one_network(_scored_alike(known, left_out), left_out)
    runs: dict[RunKey, RunRecord] = {}
    notices: list[Notice] = []
    ignored = DESIGNS - {METRICS[column].source for column in wanted.columns}
    tables = dict.fromkeys((record.data.name, record.entry.scale) for record in alike)
    for data, scale in tables:
        here = [r for r in alike if (r.data.name, r.entry.scale) == (data, scale)]
        _, chosen, said = select_comparable(here, ignored=ignored)
        runs |= {run_key(record): record for record in chosen}
        notices += [
            notice.model_copy(update={"message": f"on {data} x{scale}: {notice.message}"})
            for notice in said
        ]
    gone = [
        Notice(
            code="incomparable",
            message=f"{key_text(key)}: a run differs in {reason} and is left out",
            advice="Measure all entries with the same settings, for example in one `esrbench run`.",
        )
        for key, reason in left_out.items()
        if key not in runs
    ]
    notices = [*gone, *notices, *_code_notices(runs)]
    keys = {run_key(record) for record in known}
    return Choice(runs, frozenset(keys - set(runs)), tuple(notices))


def _newest(records: Sequence[RunRecord]) -> RunRecord:
    """The newest record that leaderboards would rank, preferably one with a runtime."""
    return max(reversed(records), key=worth)


def _scored_alike(records: Sequence[RunRecord], left_out: dict[RunKey, str]) -> list[RunRecord]:
    """Records whose figures have the same definitions as the newest's, on any data set."""
    alike = []
    expected = _newest(records).protocol if records else Protocol()
    for record in records:
        differing = _meanings(record, expected)
        if differing:
            left_out[run_key(record)] = differing
        else:
            alike.append(record)
    return alike


def _meanings(record: RunRecord, expected: Protocol) -> str:
    """Definitions of figures that differ, in words, for any data set; empty if none differs."""
    protocol = record.protocol
    if record.entry.role == "images":
        return "" if protocol.quality == expected.quality else "the definition of scores"
    forward = f"class ({protocol.forward.label}, not {expected.forward.label})"
    identities = {
        forward: protocol.forward != expected.forward,
        "the definition of scores": protocol.quality != expected.quality,
        "the LR size of complexity": protocol.counted_input != expected.counted_input,
        "the LR size of predicted memory": protocol.memory_input != expected.memory_input,
    }
    return ", ".join(name for name, differs in identities.items() if differs)


def _of_one_network(records: Sequence[RunRecord], left_out: dict[RunKey, str]) -> list[RunRecord]:
    """Records with the weights and form of the entry's newest run at the same scale."""
    same = []
    rows: dict[tuple[str, int], list[RunRecord]] = {}
    for record in records:
        rows.setdefault(run_key(record)[:2], []).append(record)
    newest = {row: _newest(runs).entry for row, runs in rows.items()}
    for record in records:
        entry, expected = record.entry, newest[run_key(record)[:2]]
        differing = ""
        if (entry.factory, entry.deployed_by) != (expected.factory, expected.deployed_by):
            differing = "network"
        if (entry.weights.source, entry.weights.sha256) != (
            expected.weights.source,
            expected.weights.sha256,
        ):
            differing = "weights"
        if differing:
            left_out[run_key(record)] = f"{differing} from the newest at x{entry.scale}"
        else:
            same.append(record)
    return same


def _code_notices(runs: dict[RunKey, RunRecord]) -> list[Notice]:
    """Rows whose cells were measured with different source files."""
    rows: dict[tuple[str, int], set[str | None]] = {}
    for (entry, scale, _), record in runs.items():
        rows.setdefault((entry, scale), set()).add(record.entry.code_sha256)
    return [
        Notice(
            code="mixed-code",
            message=f"{entry} x{scale}: its source files changed between the runs that are shown",
            advice="Run it again on all data sets at once.",
        )
        for (entry, scale), hashes in rows.items()
        if len(hashes) > 1
    ]


def references() -> str:
    """BibTeX of the publications of the networks that esrbench ships, by their citation keys."""
    return resources.files("esrbench_models").joinpath("references.bib").read_text("utf-8")


def write_references(path: Path) -> None:
    """Write ``references`` to a new file.

    Raises:
        UsageError: the file holds something else, or cannot be written.
    """
    text = references().encode()
    try:
        if path.exists() and path.read_bytes() != text:
            message = f"{path}: exists already, with other content"
            raise UsageError(message, advice="Name a new file, and let LaTeX read both.")
        replace_file(path, text)
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Name a file in a folder that is there.") from error


PublishedKey = tuple[str, str, int, str | None]
"""Entry, metric, scale, and data set of a figure that belongs to one."""


def published_figures(registry: Registry) -> dict[PublishedKey, PublishedFigure]:
    """Published figures of registered networks; a descriptor's figure replaces a paper's."""
    figures: dict[PublishedKey, PublishedFigure] = {}
    for model in registry:
        for figure in model.published:
            figures.setdefault((model.name, figure.metric, figure.scale, figure.data), figure)
    for entry, figure in quality_rows():
        if entry in registry:
            figures.setdefault((entry, figure.metric, figure.scale, figure.data), figure)
    return figures


def quality_rows() -> Iterator[tuple[str, PublishedFigure]]:
    """PSNR-Y (dB) and SSIM-Y from ``published_quality.csv``, each with its network.

    They hold for the authors' weights. Each names the table that it comes from; most of these
    tables reprint older ones. Figures without a table are left out.
    """
    text = resources.files("esrbench.reports").joinpath("published_quality.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        entry, scale, source = row.pop("entry"), int(row.pop("scale")), row.pop("source")
        for data, printed in row.items():
            for metric, value in zip(("psnr_y", "ssim_y"), printed.split("/"), strict=True):
                yield (
                    entry,
                    PublishedFigure(
                        metric=metric, scale=scale, value=float(value), source=source, data=data
                    ),
                )
