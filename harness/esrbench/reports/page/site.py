"""Pages for several data sets, editions and dates, with an index and the history of each entry.

All links are relative, so that the folder can lie anywhere. A page of an earlier date shows the
board as it was at the end of that day.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, Final

from esrbench.metrics import METRICS
from esrbench.plaintext import plural
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.published import official_leaderboard
from esrbench.ranking.selection import differences, of_class
from esrbench.records import Value
from esrbench.reports.page.charts import history, interval_of
from esrbench.reports.page.contents import claims_of, unread_files
from esrbench.reports.page.page import markup, report_page, template
from esrbench.reports.table import MISSING, Heading, Section, Table, plain, short_title

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from esrbench.entries.registry import Registry
    from esrbench.metrics import Metric
    from esrbench.ranking.board import Leaderboard
    from esrbench.ranking.rule import Rule
    from esrbench.records import Examination, Notice, RunRecord
    from esrbench.runs.store import Store

INDEX: Final = "index.html"
LEADING: Final = ("psnr_rgb", "runtime_images", "params", "macs_ntire2022")
"""Metrics of the leader that the index shows."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that may share a board: one data set, scale and class.

    Attributes:
        data: name of the data set.
        title: title of the data set.
        scale: upscaling factor.
        label: label of the class; None if there are only SR images without networks.
        records: records, the oldest first. SR images have no class, so they are in every group.
    """

    data: str
    title: str
    scale: int
    label: str | None
    records: tuple[RunRecord, ...]

    @property
    def heading(self) -> str:
        """Heading of the group."""
        where = f"{short_title(self.title)} x{self.scale}"
        return ", ".join([where, *([self.label] if self.label else [])])

    @property
    def days(self) -> list[date]:
        """Days on which records were added, in order."""
        return sorted(set(map(day_of, self.records)))


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the site that shows a board.

    Attributes:
        file: name of its file.
        heading: what it is about.
        board: the board that it shows.
        day: last day whose runs are on it; None for published boards.
        records: records from which the board was chosen.
        past: the board has changed since.
    """

    file: str
    heading: str
    board: Leaderboard
    day: date | None = None
    records: tuple[RunRecord, ...] = ()
    past: bool = False


def site_pages(
    records: Sequence[RunRecord],
    *,
    rules: Sequence[Rule],
    official: Sequence[Rule] = (),
    earlier: int = 12,
    title: str = "Leaderboards",
    store: Store | None = None,
    registry: Registry | None = None,
    examinations: Sequence[Examination] = (),
    unread: Sequence[Notice] = (),
) -> Iterator[tuple[str, str]]:
    """Names and contents of all files of a site.

    Args:
        records: all runs, without what may not be published.
        rules: editions, each with a page for each data set, scale and class.
        official: editions whose published boards have pages.
        earlier: for each board, the largest number of earlier dates that have their own pages.
        title: title of the index.
        store: holds the crops of SR images; pages of earlier dates show none.
        registry: has the figures that authors state of their networks.
        examinations: examinations of machines on which runs may have been made.
        unread: notices of files in the store that could not be read.
    """
    groups = groups_of(records)
    pages = list(_boards(groups, records, rules, earlier))
    for page in pages:
        content = report_page(
            page.board,
            page.records,
            store=None if page.past else store,
            claims=claims_of(registry, page.board, page.records) if registry else None,
            title=f"{page.board.title}: {page.heading}, {page.day}",
            examinations=examinations,
            home=INDEX,
        )
        yield page.file, content
    published = [
        Page(f"official_{file_name(rule.name)}.html", board.title, board)
        for rule in official
        for board in [official_leaderboard(rule)]
    ]
    for page in published:
        yield page.file, report_page(page.board, [], home=INDEX)
    entries = _by_entry(groups)
    files = {name: f"entry_{file_name(name)}.html" for name in entries}
    metrics = _metrics(rules)
    for name, theirs in entries.items():
        histories = [_history(group, metrics) for group in theirs]
        yield files[name], template("history.html").render(title=name, histories=histories)
    present = [page for page in pages if not page.past]
    past = [page for page in pages if page.past]
    parts = [
        _part("Leaderboards", "The newest runs, and who leads.", present),
        _part("Published leaderboards", "Recomputed from what organisers published.", published),
        {
            "heading": "Entries",
            "said": "All runs of each entry, over time.",
            "folded": False,
            "table": _entries_table(entries),
            "links": list(files.values()),
        },
        _part(
            "Earlier dates",
            f"{plural(len(past), 'page')}, as the boards were then",
            past,
            folded=True,
        ),
    ]
    left_out = unread_files(unread, store.folder) if store else None
    if left_out is not None:
        said = "Their content is on no page."
        parts.append({"heading": "Files that could not be read", "said": said, "folded": False})
        parts[-1] |= {"table": left_out, "links": ()}
    yield INDEX, template("index.html").render(title=title, parts=parts)
    yield ".nojekyll", ""


def _boards(
    groups: Sequence[Group], records: Sequence[RunRecord], rules: Sequence[Rule], earlier: int
) -> Iterator[Page]:
    """The pages of each group and edition, the newest first."""
    for group, rule in product(groups, rules):
        newest = group.days[-1]
        for day in group.days[-1 - earlier :][::-1]:
            known = [record for record in group.records if day_of(record) <= day]
            names = {record.run_id for record in known}
            others = [r for r in records if day_of(r) <= day and r.run_id not in names]
            ran = any(record.entry.role != "images" for record in known)
            board = build_leaderboard(
                known,
                rule,
                forward_class=group.label if ran else None,
                elsewhere=others,
                resample=True,
            )
            words = [group.data, f"x{group.scale}", group.label or "images", rule.name]
            words += [] if day == newest else [day.isoformat()]
            file = f"{'_'.join(map(file_name, words))}.html"
            yield Page(file, group.heading, board, day, tuple(known), past=day != newest)


def groups_of(records: Iterable[RunRecord]) -> list[Group]:
    """Runs by data set, scale and class, in the order in which they were first made."""
    tables: dict[tuple[str, int], list[RunRecord]] = {}
    for record in sorted(records, key=lambda record: record.created):
        tables.setdefault((record.data.name, record.entry.scale), []).append(record)
    groups: list[Group] = []
    for (data, scale), theirs in tables.items():
        title = theirs[-1].data.title
        networks = [record for record in theirs if record.entry.role != "images"]
        labels = dict.fromkeys(record.class_label() for record in networks)
        groups += [
            Group(data, title, scale, label, tuple(of_class(theirs, label) if label else theirs))
            for label in (labels or [None])
        ]
    return groups


def day_of(record: RunRecord) -> date:
    """The day of a run, UTC."""
    return record.created.astimezone(UTC).date()


def file_name(text: str) -> str:
    """A word for file names and addresses; different texts give different words.

    A hash replaces what the text loses. The word has no underscore, so that underscores can join
    several words.
    """
    word = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip("-.")[:60]
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return word if word and word == text else f"{word}-{digest}".lstrip("-")


def _metrics(rules: Sequence[Rule]) -> list[Metric]:
    """The metrics that are columns of any rule, in table order."""
    keys = {key for rule in rules for key in rule.columns} | set(LEADING)
    return [metric for key, metric in METRICS.items() if key in keys]


def _by_entry(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """The figures of each entry in each group, entries in order of their names."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        for name in dict.fromkeys(record.entry.name for record in group.records):
            theirs = tuple(record for record in group.records if record.entry.name == name)
            own = Group(group.data, group.title, group.scale, group.label, theirs)
            found.setdefault(name, []).append(own)
    return dict(sorted(found.items()))


def _part(heading: str, said: str, pages: Sequence[Page], *, folded: bool = False) -> Any:
    """A part of the index: pages, and who leads there."""
    rows = []
    for page in pages:
        leader = next(iter(page.board.ranked), None)
        values = [leader.values.get(key) if leader else None for key in LEADING]
        shown = [
            METRICS[key].format(value.value) if isinstance(value, Value) else MISSING
            for key, value in zip(LEADING, values, strict=True)
        ]
        day = page.day.isoformat() if page.day else MISSING
        entries = f"{len(page.board.ranked)} of {len(page.board.ranked) + len(page.board.unranked)}"
        name = leader.entry if leader else MISSING
        rows.append((page.heading, page.board.rule, day, entries, name, *shown))
    names = ("Page", "Edition", "Date", "Ranked", "Leader")
    headings = (
        *map(Heading, names),
        *(Heading(METRICS[key].heading, align="right") for key in LEADING),
    )
    return {
        "heading": heading,
        "said": said,
        "folded": folded,
        "table": _table(headings, rows),
        "links": [page.file for page in pages],
    }


def _entries_table(entries: dict[str, list[Group]]) -> Table:
    rows = []
    for name, groups in entries.items():
        runs = {record.run_id: record for group in groups for record in group.records}
        newest = max(runs.values(), key=lambda record: record.created)
        where = "; ".join(group.heading for group in groups)
        rows.append((name, str(len(runs)), day_of(newest).isoformat(), newest.status, where))
    headings = (
        Heading("Entry"),
        Heading("Runs", align="right"),
        Heading("Newest"),
        Heading("Its status"),
        Heading("On", prose=True),
    )
    return _table(headings, rows)


def _history(group: Group, metrics: Sequence[Metric]) -> Any:
    """Runs of one entry in a group: charts of what changed, and a table of all."""
    stretches: list[list[RunRecord]] = [[group.records[0]]]
    differing = [""]
    for before, record in pairwise(group.records):
        differs = differences(record, before)
        differing.append(", ".join(differs))
        if differs:
            stretches.append([])
        stretches[-1].append(record)
    shown = [m for m in metrics if any(r.measured(m.key) is not None for r in group.records)]
    charts = []
    for metric in shown:
        values = {record.measured(metric.key) for record in group.records} - {None}
        if len(values) > 1:
            readings = [list(_readings(stretch, metric)) for stretch in stretches]
            drawing = history([each for each in readings if each], metric)
            charts.append((metric.heading, markup(drawing)))
    rows = [
        (
            f"{record.created.astimezone(UTC):%Y-%m-%d %H:%M}",
            record.status,
            *(
                MISSING if (value := record.measured(m.key)) is None else m.format(value)
                for m in shown
            ),
            differs,
        )
        for record, differs in zip(group.records, differing, strict=True)
    ]
    headings = (
        Heading("Run (UTC)"),
        Heading("Status"),
        *(Heading(metric.heading, align="right") for metric in shown),
        Heading("Differs from the run before in", prose=True),
    )
    return {"heading": group.heading, "charts": charts, "table": _table(headings, rows[::-1])}


def _readings(stretch: Sequence[RunRecord], metric: Metric) -> Iterator[Any]:
    for record in stretch:
        value = record.value(metric.key)
        if isinstance(value, Value):
            reading = (value.value / metric.divisor, *interval_of(value.interval, metric.divisor))
            yield record.created, reading


def _table(headings: Sequence[Heading], rows: Sequence[Sequence[str]]) -> Table:
    cells = tuple(tuple(map(plain, row)) for row in rows)
    return Table(headings=tuple(headings), sections=(Section(cells),))
