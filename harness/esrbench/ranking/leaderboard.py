"""Build a challenge leaderboard from records; one pipeline ranks all tables.

Each record becomes a row with its gates. A row that is not ranked has the reason. ``rank_rows``
adds ranks per metric, places in the tracks and the Pareto front to the other rows.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from esrbench.entries.weight_files import same_weights
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.plaintext import plural
from esrbench.ranking.blocks import met_other_devices
from esrbench.ranking.board import Leaderboard, LeaderboardEntry, Place
from esrbench.ranking.footnotes import (
    backend_notes,
    banner,
    device_statement,
    energy_notes,
    gate_statement,
    measuring_notes,
    notes_on,
    reference_notes,
    rule_notes,
    software_notes,
    stability_notes,
)
from esrbench.ranking.formulas import RankSum
from esrbench.ranking.gates import applicable_gates, held_against, missed, scored_elsewhere
from esrbench.ranking.references import (
    own_baselines,
    rankable,
    reference_entry,
    scored,
    why_missing,
)
from esrbench.ranking.resampling import MOST_ENTRIES, drawn_runtimes, with_shares
from esrbench.ranking.selection import of_other_software, select_comparable
from esrbench.ranking.stability import (
    PROVISIONAL,
    Noise,
    RankStability,
    across_processes,
    processes_of,
    rank_stability,
)
from esrbench.ranking.standings import Contestant, pareto_front, place_in_tracks, rank_metrics
from esrbench.records import Absent, Latency, Notice, RunRecord, Value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.formulas import Total
    from esrbench.ranking.gates import Bounds, Elsewhere
    from esrbench.ranking.references import References
    from esrbench.ranking.rule import GateCheck, Rule, Track
    from esrbench.ranking.stability import Stability

OVERFLOW = Absent(
    kind="unavailable", reason="the score exceeds the largest float; see its logarithm"
)
ANOTHER_BASELINE = (
    "`esrbench leaderboard --relative-to NAME` uses another entry's runtime, or `published`"
)
"""Advice if scores lack the baseline's runtime."""
INTERPOLATION = "interpolation baseline, shown beside the ranking"
"""Reason why an interpolation is not ranked."""


def build_leaderboard(
    records: Sequence[RunRecord],
    rule: Rule,
    *,
    forward_class: str | None = None,
    relative_to: str | None = None,
    another_baseline: str = ANOTHER_BASELINE,
    mixed: bool = False,
    elsewhere: Sequence[RunRecord] = (),
    resample: bool = False,
) -> Leaderboard:
    """Rank records by a rule.

    Args:
        records: records of any data set, scale and protocol.
        rule: rule of the edition.
        forward_class: a ``RunRecord.class_label``, to rank that class instead of the newest.
        relative_to: entry whose runtime replaces the baseline's in scores, or ``published``.
        another_baseline: advice to readers if scores lack a baseline.
        mixed: rank all entries together, whatever Python and torch they ran with. Otherwise entries
            whose software differs from the newest record's are shown below the ranking.
        elsewhere: records on other data sets, for gates on these data sets.
        resample: resample processes to find how often ranks stay the same; for at most
            ``MOST_ENTRIES`` entries.

    Raises:
        UsageError: no records, no record of that class, no entry called ``relative_to``, or the
            rule's formulas have no baseline.
    """
    if relative_to is not None and not scored(rule.tracks):
        message = f"--relative-to {relative_to}: nothing in {rule.name} is relative to a baseline"
        raise UsageError(message, advice="Leave it out, or take a rule with exponential scores.")
    select = partial(select_comparable, forward_class=forward_class, mixed=mixed)
    newest, chosen, notices = select(records)
    others = [] if mixed else of_other_software(records, newest)
    if others:
        set_apart = {record.run_id for record in others}
        newest, chosen, notices = select([r for r in records if r.run_id not in set_apart])
    tracks, references, notes = rankable(chosen, rule, relative_to, another_baseline)
    columns = _columns(rule, chosen)
    usable = [metric for metric in rule.ranked_alone if why_missing(chosen, metric) is None]
    metrics = ranked_in_table(rule, tracks, usable)
    there = scored_elsewhere([*records, *elsewhere], rule, newest)
    gates = applicable_gates(rule, newest, chosen, there)
    rows = _of_equal_devices(
        [record_row(record, columns, metrics, gates, there, rule=rule) for record in chosen],
        chosen,
        metrics,
    )
    apart = _apart(others, rows, columns, rule)
    reference = reference_entry(rule, relative_to)
    rows, noise = _with_noise(
        rows, chosen, metrics, reference if scored(tracks) else None, resample=resample
    )
    beside = own_baselines(chosen, metrics, reference) if scored(tracks) else {}
    ranked, stability = rank_rows(
        rows, metrics, tracks, references, noise=noise, own_baselines=beside
    )
    unknown = PROVISIONAL if stability.provisional_metrics else None
    return Leaderboard(
        rule=rule.name,
        title=rule.title,
        data=f"{newest.data.title} x{newest.data.scale} ({plural(newest.data.images, 'image')})",
        split=newest.data.title,
        device=device_statement(newest),
        forward_class=newest.class_label(mixed=mixed),
        banner=banner(chosen),
        gate=gate_statement(rule, newest, [gate for gate, _ in gates]),
        columns=columns,
        other_columns=tuple(dict.fromkeys(title for row in rows for title in row.other_scores)),
        tracks=tuple(tracks),
        pareto_metrics=metrics if ranked else (),
        stability=unknown,
        ranked=ranked,
        unranked=(*(row for row in rows if row.unranked_because is not None), *apart),
        notes=(
            *notes,
            *stability_notes(ranked, tracks, unknown),
            *reference_notes(rule, tracks, relative_to, of_other_rounds=len(beside)),
            *rule_notes(rule, newest),
            *software_notes([*chosen, *others]),
            *backend_notes(chosen),
            *energy_notes(chosen),
            *notes_on(chosen),
        ),
        details=(*rule.footnotes, *measuring_notes(chosen, columns)),
        notices=(*notices, *_same_weights(chosen)),
    )


def _same_weights(records: Sequence[RunRecord]) -> list[Notice]:
    """Notices about entries that ran with the same weights."""
    identities = [record.entry for record in records]
    hashes = {
        each.name: (each.weights.sha256, each.weights.parameters_sha256) for each in identities
    }
    return same_weights(hashes, [each.name for each in identities if each.submitted])


def rank_rows(
    rows: Sequence[LeaderboardEntry],
    metrics: Sequence[str],
    tracks: Sequence[Track],
    references: References,
    *,
    noise: Noise | None = None,
    ties: Mapping[str, Mapping[str, int]] | None = None,
    steps: Mapping[str, float] | None = None,
    own_baselines: References = MappingProxyType({}),
) -> tuple[tuple[LeaderboardEntry, ...], RankStability]:
    """Add ranks and places to rows and sort the rows.

    Args:
        rows: rows of the table. Rows with a reason for not being ranked are left out.
        metrics: metrics to rank, including all that the tracks use.
        tracks: main track first. If there are none, the first metric orders the rows.
        references: reference figures by track.
        noise: noise of the runtimes; None if no rank depends on a runtime.
        ties: order among values that are equal as printed, by entry, then by metric.
        steps: step in base units to which values are rounded before ranking, by metric.
        own_baselines: ``Contestant.own_baseline`` by entry.
    """
    eligible = [row for row in rows if row.unranked_because is None]
    stepped = [(metric, (steps or {}).get(metric)) for metric in metrics]
    contestants = [
        Contestant(
            row.entry,
            {metric: _ranked_value(row, metric, step) for metric, step in stepped},
            (ties or {}).get(row.entry, {}),
            own_baselines.get(row.entry, {}),
        )
        for row in eligible
    ]
    ranks = rank_metrics(contestants, metrics)
    places = place_in_tracks(contestants, ranks, tracks, references)
    held = RankStability()
    if contestants and noise is not None:
        held = rank_stability(contestants, ranks, places, tracks, references, noise=noise)
        held = with_shares(
            held,
            contestants,
            ranks,
            places,
            tracks=tracks,
            references=references,
            drawn=noise.drawn,
            baseline=noise.baseline,
        )
    front = pareto_front(contestants, metrics, held.spans) if metrics else frozenset[str]()
    provisional = tuple(m for m in metrics if m in held.provisional_metrics)
    in_tracks = [
        (t, places[t.key], held.tracks.get(t.key, {}), t.key in held.provisional_tracks)
        for t in tracks
    ]
    ranked = [
        replace(
            row,
            ranks={metric: by_entry[row.entry] for metric, by_entry in ranks.items()},
            rank_stability={
                metric: by_entry[row.entry] for metric, by_entry in held.metrics.items()
            },
            provisional_ranks=provisional,
            places={
                track.key: place_of(
                    by_entry[row.entry].total,
                    track,
                    by_entry[row.entry].rank,
                    stability=possible.get(row.entry),
                    provisional=few,
                )
                for track, by_entry, possible, few in in_tracks
            },
            pareto=row.entry in front if metrics else None,
        )
        for row in eligible
    ]

    def order(row: LeaderboardEntry) -> tuple[int, str]:
        if tracks:
            return row.places[tracks[0].key].rank or 0, row.entry
        return row.ranks[metrics[0]] if metrics else 0, row.entry

    return tuple(sorted(ranked, key=order)), held


def place_of(
    total: Total,
    track: Track,
    rank: int | None,
    *,
    stability: Stability | None = None,
    provisional: bool = False,
) -> Place:
    """Build an entry's place from its total and the other fields of ``Place``."""
    if isinstance(track.formula, RankSum):
        return Place(rank, int(total.order), stability=stability, provisional=provisional)
    score = OVERFLOW if total.value is None else total.value
    return Place(
        rank, score=score, log_score=total.log, stability=stability, provisional=provisional
    )


def _ranked_value(row: LeaderboardEntry, metric: str, step: float | None) -> float:
    """A value in base units, rounded half up to a printed step if there is one."""
    value = row.values[metric]
    if not isinstance(value, Value):
        message = f"{row.entry} is ranked but has no {metric}: {value.reason}"
        raise TypeError(message)
    if step is None:
        return value.value
    unit = Decimal(repr(METRICS[metric].divisor))
    digits = (Decimal(repr(step)) / unit).normalize()
    return float((Decimal(repr(value.value)) / unit).quantize(digits, ROUND_HALF_UP) * unit)


def ranked_in_table(rule: Rule, tracks: Sequence[Track], usable: Sequence[str]) -> tuple[str, ...]:
    """Metrics to rank: the metrics of the tracks, and usable metrics that are ranked alone."""
    used = {metric for track in tracks for metric in track.metrics}
    used.update(metric for metric in rule.ranked_alone if metric in usable)
    return tuple(metric for metric in rule.columns if metric in used)


def record_row(
    record: RunRecord,
    columns: Sequence[str],
    metrics: Sequence[str],
    gates: Bounds,
    elsewhere: Elsewhere,
    *,
    rule: Rule,
) -> LeaderboardEntry:
    """A record's row without ranks.

    Args:
        record: record of an entry.
        columns: metrics to show.
        metrics: metrics that a ranked entry must have.
        gates: gates to check.
        elsewhere: result of ``scored_elsewhere``.
        rule: rule with the gates.
    """
    checks = [
        gate.check(found.value, interpolated) if isinstance(found, Value) else found
        for gate, interpolated in gates
        for found in (held_against(record, gate, rule, elsewhere),)
    ]
    return LeaderboardEntry(
        entry=record.entry.name,
        run_id=record.run_id,
        weights=record.entry.weights.source,
        status=record.status,
        ran_with=record.ran_with,
        values={metric: record.value(metric) for metric in columns},
        gates=tuple(check for check in checks if not isinstance(check, Absent)),
        other_scores=_on_other_data(record, elsewhere, "psnr_rgb"),
        other_runtimes=_on_other_data(record, elsewhere, "runtime_images"),
        unranked_because=_why_unranked(record, metrics, gates, checks),
    )


def _on_other_data(record: RunRecord, elsewhere: Elsewhere, metric: str) -> dict[str, float]:
    """Figures of an entry on other data sets, by their titles."""
    others = (by_entry.get(record.entry.name) for by_entry in elsewhere.values())
    known = ((each.data.title, each.measured(metric)) for each in others if each is not None)
    return {title: float(value) for title, value in known if value is not None}


def _of_equal_devices(
    rows: Sequence[LeaderboardEntry], records: Sequence[RunRecord], metrics: Sequence[str]
) -> list[LeaderboardEntry]:
    """Rows; entries that were timed on other devices than most are marked as unranked."""
    if not any(METRICS[metric].noisy for metric in metrics):
        return list(rows)
    ranked = [r for r, row in zip(records, rows, strict=True) if row.unranked_because is None]
    others = met_other_devices(ranked)
    return [
        replace(row, unranked_because=others[row.run_id]) if row.run_id in others else row
        for row in rows
    ]


def _apart(
    records: Sequence[RunRecord],
    rows: Sequence[LeaderboardEntry],
    columns: Sequence[str],
    rule: Rule,
) -> list[LeaderboardEntry]:
    """Rows of entries that ran only with another Python and torch; the newest record of each."""
    shown = {row.entry for row in rows}
    newest = {each.entry.name: each for each in records if each.entry.name not in shown}
    return [
        replace(row, unranked_because=row.unranked_because or why)
        for row, why in (
            (
                record_row(each, columns, (), (), {}, rule=rule),
                f"another class: {each.class_label()}",
            )
            for each in newest.values()
        )
    ]


def _why_unranked(
    record: RunRecord, metrics: Sequence[str], gates: Bounds, checks: Sequence[GateCheck | Absent]
) -> str | None:
    """Why a record is shown below the ranking, or None."""
    if record.entry.role == "floor":
        return INTERPOLATION
    if not record.ranked:
        failure = record.failure()
        cause = record.cause or (failure.reason if failure else None)
        if cause is None and record.status == "interrupted":
            cause = "the run ended before all processes had timed it"
        # The cause of a failure begins with its kind, which is the status.
        cause = (cause or "no cause was recorded").removeprefix(f"{record.status}: ")
        return f"{record.status}: {cause.rstrip('.')}"
    for metric in metrics:
        value = record.value(metric)
        if isinstance(value, Absent):
            return f"{METRICS[metric].label} is missing: {value.reason}"
    failed = (missed(gate, check, record) for (gate, _), check in zip(gates, checks, strict=True))
    return next((why for why in failed if why is not None), None)


def _with_noise(
    rows: Sequence[LeaderboardEntry],
    records: Sequence[RunRecord],
    metrics: Sequence[str],
    reference: str | None,
    *,
    resample: bool,
) -> tuple[list[LeaderboardEntry], Noise | None]:
    """Rows with intervals of runtimes that predict another process, and the noise of the table.

    Args:
        rows: rows of the records.
        records: records in the same order.
        metrics: ranked metrics.
        reference: entry whose runtime is the reference of scores, or None.
        resample: draw runtimes too.
    """
    ranked = [r for r, row in zip(records, rows, strict=True) if row.unranked_because is None]
    names = {record.entry.name for record in ranked}
    runtimes: dict[str, dict[str, Value | Absent]] = {}
    # Use only ranked entries for the spread between processes.
    for group in [ranked, *([record] for record in records if record.entry.name not in names)]:
        for metric in (metric for metric in rows[0].values if METRICS[metric].noisy):
            for record, value in zip(group, across_processes(group, metric), strict=True):
                runtimes.setdefault(record.entry.name, {})[metric] = value
    rows = [replace(row, values=row.values | runtimes.get(row.entry, {})) for row in rows]
    noisy = [metric for metric in metrics if METRICS[metric].noisy]
    if not noisy:
        return rows, None
    compared = [r for r in records if r.entry.name in names or r.entry.name == reference]
    return rows, Noise(
        {record.entry.name: runtimes[record.entry.name] for record in compared},
        min(map(processes_of, compared), default=0),
        reference,
        {metric: drawn_runtimes(compared, metric) for metric in noisy}
        if resample and len(compared) <= MOST_ENTRIES
        else {},
    )


def _columns(rule: Rule, records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The rule's columns, metrics that add detail to them, and metrics measured on request."""

    def measured(metric: str) -> bool:
        return any(record.measured(metric) is not None for record in records)

    sessions = {r.latency.session for r in records if isinstance(r.latency, Latency)}

    def shown(metric: str, beside: str) -> bool:
        if METRICS[metric].noisy:
            # Ratios to baselines of different rounds cannot be compared.
            return measured(metric) and len(sessions) <= 1
        return measured(metric) and not measured(beside)

    columns: dict[str, None] = {}
    for column in rule.columns:
        columns[column] = None
        beside = (key for key, metric in METRICS.items() if column in metric.beside)
        columns |= dict.fromkeys(key for key in beside if shown(key, column))
    asked = (key for key, metric in METRICS.items() if metric.on_request and measured(key))
    return tuple(columns | dict.fromkeys(asked))
