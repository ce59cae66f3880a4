"""From records to a challenge leaderboard; one pipeline ranks all tables.

Entries become rows with their gates and the reason why they are not ranked, if there is one.
``rank_rows`` gives the others ranks per metric, places in the tracks and the Pareto front.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from esrbench.entries.weight_files import same_weights
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.protocol import size_text
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
from esrbench.ranking.formulas import RankSum, RealTime
from esrbench.ranking.selection import of_other_software, select_comparable, worth
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
from esrbench.runtimes import baseline_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from esrbench.ranking.formulas import Total
    from esrbench.ranking.rule import Gate, GateCheck, Rule, Track

    Bounds = Sequence[tuple[Gate, float | None]]
    """Gates, with the PSNR of the interpolation that they ask to beat, if any."""
    References = Mapping[str, Mapping[str, float]]
    """By track, what its formula sets figures in relation to, by metric; or by entry."""
    Elsewhere = Mapping[str, Mapping[str, RunRecord]]
    """Records on other data sets, by its name and then by entry."""

PUBLISHED: Literal["published"] = "published"
OVERFLOW = Absent(
    kind="unavailable", reason="the score exceeds the largest float; its logarithm is given"
)
ANOTHER_BASELINE = (
    "`esrbench leaderboard --relative-to NAME` takes another entry's runtime, or `published`"
)
"""What to do where scores lack the baseline's runtime."""
INTERPOLATION = "interpolation baseline, shown beside the ranking"
"""Why it is not ranked."""


def build_leaderboard(
    records: Sequence[RunRecord],
    rule: Rule,
    *,
    forward_class: str | None = None,
    relative_to: str | None = None,
    another_baseline: str = ANOTHER_BASELINE,
    mixed: bool = False,
    elsewhere: Sequence[RunRecord] = (),
) -> Leaderboard:
    """Rank records by a rule.

    Args:
        records: of any data set, scale and protocol.
        rule: of the edition.
        forward_class: as of ``RunRecord.class_label``, to rank that class instead of the newest.
        relative_to: entry whose runtime takes the baseline's place in scores, or ``published``.
        another_baseline: what readers of this board are told to do where scores lack one.
        mixed: rank entries together whatever Python and torch they ran with; else those of another
            than the newest are shown below the ranking.
        elsewhere: further records, on other data sets, for gates that hold there.

    Raises:
        UsageError: no records, none of that class, no entry of that name, or one named for a rule
            whose formulas have no baseline.
    """
    if relative_to is not None and not _scored(rule.tracks):
        message = f"--relative-to {relative_to}: nothing in {rule.name} is relative to a baseline"
        raise UsageError(message, advice="Leave it out, or take a rule with exponential scores.")
    select = partial(select_comparable, forward_class=forward_class, mixed=mixed)
    newest, chosen, notices = select(records)
    others = [] if mixed else of_other_software(records, newest)
    if others:
        set_apart = {record.run_id for record in others}
        newest, chosen, notices = select([r for r in records if r.run_id not in set_apart])
    tracks, references, notes = _rankable(chosen, rule, relative_to, another_baseline)
    columns = _columns(rule, chosen)
    usable = [metric for metric in rule.ranked_alone if _missing(chosen, metric) is None]
    metrics = ranked_in_table(rule, tracks, usable)
    there = scored_elsewhere([*records, *elsewhere], rule, newest)
    gates = applicable_gates(rule, newest, chosen, there)
    rows = _of_equal_devices(
        [record_row(record, columns, metrics, gates, there, rule=rule) for record in chosen],
        chosen,
        metrics,
    )
    apart = _apart(others, rows, columns, rule)
    reference = _reference_entry(rule, relative_to)
    rows, noise = _with_noise(rows, chosen, metrics, reference if _scored(tracks) else None)
    beside = _own_baselines(chosen, metrics, reference) if _scored(tracks) else {}
    ranked, stability = rank_rows(
        rows, metrics, tracks, references, noise=noise, own_baselines=beside
    )
    unknown = PROVISIONAL if stability.provisional_metrics else None
    return Leaderboard(
        rule=rule.name,
        title=rule.title,
        data=f"{newest.data.title} x{newest.data.scale} ({newest.data.images} images)",
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
    """Entries of a board that ran with the same weights."""
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
    """Give rows their ranks and places and set them in order.

    Args:
        rows: those with a reason for not being ranked are left out.
        metrics: that are ranked; all that the tracks read.
        tracks: main track first; without any, the first metric orders the rows.
        references: by track.
        noise: of the runtimes; None where no rank reads one.
        ties: by entry, then by metric, order among values that are equal as printed.
        steps: by metric, base units to which values are rounded before they are ranked.
        own_baselines: by entry, as of ``Contestant.own_baseline``.
    """
    eligible = [row for row in rows if row.unranked_because is None]
    contestants = [
        Contestant(
            row.entry,
            {metric: _ranked_value(row, metric, (steps or {}).get(metric)) for metric in metrics},
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
    front = pareto_front(contestants, metrics, held.spans) if metrics else frozenset[str]()
    ranked = [
        row.model_copy(
            update={
                "ranks": {metric: by_entry[row.entry] for metric, by_entry in ranks.items()},
                "rank_stability": {
                    metric: by_entry[row.entry] for metric, by_entry in held.metrics.items()
                },
                "provisional_ranks": tuple(m for m in metrics if m in held.provisional_metrics),
                "places": {
                    track.key: place_of(
                        places[track.key][row.entry].total,
                        track,
                        rank=places[track.key][row.entry].rank,
                        stability=held.tracks.get(track.key, {}).get(row.entry),
                        provisional=track.key in held.provisional_tracks,
                    )
                    for track in tracks
                },
                "pareto": row.entry in front if metrics else None,
            }
        )
        for row in eligible
    ]

    def order(row: LeaderboardEntry) -> tuple[int, str]:
        if tracks:
            return row.places[tracks[0].key].rank or 0, row.entry
        return row.ranks[metrics[0]] if metrics else 0, row.entry

    return tuple(sorted(ranked, key=order)), held


def place_of(total: Total, track: Track, **fields: object) -> Place:
    """An entry's place from its total and the other fields of ``Place``."""
    if isinstance(track.formula, RankSum):
        return Place.model_validate({"rank_sum": int(total.order), **fields})
    score = OVERFLOW if total.value is None else total.value
    return Place.model_validate({"score": score, "log_score": total.log, **fields})


def _ranked_value(row: LeaderboardEntry, metric: str, step: float | None) -> float:
    """A value in base units, rounded half up to a printed step where one is given."""
    value = row.values[metric]
    if isinstance(value, Absent):
        message = f"{row.entry} is ranked and lacks {metric}: {value.reason}"
        raise TypeError(message)
    if step is None:
        return value.value
    unit = Decimal(repr(METRICS[metric].divisor))
    digits = (Decimal(repr(step)) / unit).normalize()
    return float((Decimal(repr(value.value)) / unit).quantize(digits, ROUND_HALF_UP) * unit)


def ranked_in_table(rule: Rule, tracks: Sequence[Track], usable: Sequence[str]) -> tuple[str, ...]:
    """Metrics to rank: those of the tracks, and those ranked alone where they are usable."""
    used = {metric for track in tracks for metric in track.metrics}
    used.update(metric for metric in rule.ranked_alone if metric in usable)
    return tuple(metric for metric in rule.columns if metric in used)


def scored_elsewhere(records: Sequence[RunRecord], rule: Rule, newest: RunRecord) -> Elsewhere:
    """The newest records on the data sets of gates that a table is not about.

    Only of images that are proven or pinned, and of the table's scale, class and definition of
    scores.
    """
    found: dict[str, dict[str, RunRecord]] = {}
    for name in {gate.data for gate in rule.gates} - {None, newest.data.name}:
        there = [
            each
            for each in sorted(records, key=lambda each: each.created)
            if each.data.name == name
            and (each.data.verified or each.data.pinned)
            and each.entry.scale == newest.entry.scale
            and each.protocol.quality.common == newest.protocol.quality.common
            and (each.entry.role == "images" or each.protocol.forward == newest.protocol.forward)
        ]
        for record in there:
            if record.data.digest == there[-1].data.digest:
                by_entry = found.setdefault(record.data.name, {})
                before = by_entry.get(record.entry.name)
                if before is None or worth(before) <= worth(record):
                    by_entry[record.entry.name] = record
    return found


def applicable_gates(
    rule: Rule, newest: RunRecord, records: Sequence[RunRecord], elsewhere: Elsewhere
) -> Bounds:
    """Gates that may be claimed of a table.

    Args:
        rule: holds the gates.
        newest: record of the table.
        records: of the table.
        elsewhere: as of ``scored_elsewhere``.
    """
    if newest.entry.scale not in rule.scales:
        return []
    found: list[tuple[Gate, float | None]] = []
    for gate in rule.gates:
        held = records
        if gate.data is not None and gate.data != newest.data.name:
            held = tuple(elsewhere.get(gate.data, {}).values())
            if not held:
                continue
        elif gate.data is not None and not (newest.data.verified or newest.data.pinned):
            continue
        psnr = _interpolated_psnr(held, gate.beats, gate.metric) if gate.beats else None
        if gate.beats is None or psnr is not None:
            found.append((gate, psnr))
    return found


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
        record: of an entry.
        columns: to show.
        metrics: without which it is not ranked.
        gates: against which it is held.
        elsewhere: as of ``scored_elsewhere``.
        rule: whose gates they are.
    """
    checks = [
        gate.check(found.value, interpolated) if isinstance(found, Value) else found
        for gate, interpolated in gates
        for found in (_gated(record, gate, rule, elsewhere),)
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
    """What an entry reaches on other data sets, by their titles."""
    others = (by_entry.get(record.entry.name) for by_entry in elsewhere.values())
    known = ((each.data.title, each.measured(metric)) for each in others if each is not None)
    return {title: value for title, value in known if value is not None}


def _gated(record: RunRecord, gate: Gate, rule: Rule, elsewhere: Elsewhere) -> Value | Absent:
    """What an entry is held against a gate with, maybe from its run on another data set."""
    at = record.protocol.counted_input
    if "counted_input" in METRICS[gate.metric].settings and at != rule.counted_input:
        theirs = size_text(rule.counted_input)
        reason = (
            f"the rule's is at LR {theirs}, this at LR {size_text(at)}: `esrbench run "
            f"{record.entry.name} --input-size {theirs}` takes it there"
        )
        return Absent(kind="unavailable", reason=reason)
    if gate.data in {None, record.data.name}:
        return record.value(gate.metric)
    other = elsewhere.get(gate.data or "", {}).get(record.entry.name)
    if other is None:
        reason = f"it was not measured on {gate.title}"
    elif not other.ranked:
        reason = f"its run on {gate.title} ended as {other.status}"
    elif (other.entry.code_sha256, other.entry.weights.sha256) != (
        record.entry.code_sha256,
        record.entry.weights.sha256,
    ):
        reason = f"its run on {gate.title} was of other code or weights"
    else:
        return other.value(gate.metric)
    return Absent(kind="unavailable", reason=reason)


def _of_equal_devices(
    rows: Sequence[LeaderboardEntry], records: Sequence[RunRecord], metrics: Sequence[str]
) -> list[LeaderboardEntry]:
    """Rows, those below the ranking whose runtimes are of other devices than the others'."""
    if not any(METRICS[metric].noisy for metric in metrics):
        return list(rows)
    ranked = [r for r, row in zip(records, rows, strict=True) if row.unranked_because is None]
    others = met_other_devices(ranked)
    return [
        row.model_copy(update={"unranked_because": others[row.run_id]})
        if row.run_id in others
        else row
        for row in rows
    ]


def _apart(
    records: Sequence[RunRecord],
    rows: Sequence[LeaderboardEntry],
    columns: Sequence[str],
    rule: Rule,
) -> list[LeaderboardEntry]:
    """Rows of entries that ran with another Python and torch only, the newest of each."""
    shown = {row.entry for row in rows}
    newest = {each.entry.name: each for each in records if each.entry.name not in shown}
    return [
        row.model_copy(update={"unranked_because": row.unranked_because or why})
        for row, why in (
            (
                record_row(each, columns, (), (), {}, rule=rule),
                f"a class of its own: {each.class_label()}",
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
            cause = "not all processes had timed it"
        # The cause of a failure begins by its kind, which is the status.
        cause = (cause or "no cause was recorded").removeprefix(f"{record.status}: ")
        return f"{record.status}: {cause.rstrip('.')}"
    for metric in metrics:
        value = record.value(metric)
        if isinstance(value, Absent):
            return f"{METRICS[metric].label} is missing: {value.reason}"
    failed = (_missed(gate, check, record) for (gate, _), check in zip(gates, checks, strict=True))
    return next((why for why in failed if why is not None), None)


def _missed(gate: Gate, check: GateCheck | Absent, record: RunRecord) -> str | None:
    """Why a record does not pass a gate, or None."""
    label = METRICS[gate.metric].label
    if isinstance(check, Absent):
        return f"{label} is missing: {check.reason}"
    if check.rounded:
        return None
    on = "" if gate.data in {None, record.data.name} else f" on {gate.title}"
    metric = METRICS[gate.metric]
    if gate.maximum is not None:
        ours, most = metric.show(check.value), metric.show(check.needed)
        if ours == most:  # rounding hides by how much
            ours, most = f"{check.value:,.15g}", f"{check.needed:,.15g}"
        return f"{label}{on} {ours} is above {most}"
    found = f"{label}{on} {check.value:.4f} {metric.unit}".strip() + " is"
    bound = f"{check.needed:.{gate.decimals}f} {metric.unit}".strip()
    if gate.beats is None:
        return f"{found} below {bound}"
    rounded = ", as both are rounded" if check.strict else ""
    return f"{found} not above the {bound} of {gate.beats}{rounded}"


def _with_noise(
    rows: Sequence[LeaderboardEntry],
    records: Sequence[RunRecord],
    metrics: Sequence[str],
    reference: str | None,
) -> tuple[list[LeaderboardEntry], Noise | None]:
    """Rows with intervals of runtimes that hold for another process, and what these tell.

    Args:
        rows: of the records.
        records: in the same order.
        metrics: that are ranked.
        reference: entry to whose runtime scores are relative, if it is a record's.
    """
    ranked = [r for r, row in zip(records, rows, strict=True) if row.unranked_because is None]
    names = {record.entry.name for record in ranked}
    runtimes: dict[str, dict[str, Value | Absent]] = {}
    # The spread between processes is taken from ranked entries only.
    for group in [ranked, *([record] for record in records if record.entry.name not in names)]:
        for metric in (metric for metric in rows[0].values if METRICS[metric].noisy):
            for record, value in zip(group, across_processes(group, metric), strict=True):
                runtimes.setdefault(record.entry.name, {})[metric] = value
    rows = [
        row.model_copy(update={"values": row.values | runtimes.get(row.entry, {})}) for row in rows
    ]
    if not any(METRICS[metric].noisy for metric in metrics):
        return rows, None
    compared = [r for r in records if r.entry.name in names or r.entry.name == reference]
    return rows, Noise(
        {record.entry.name: runtimes[record.entry.name] for record in compared},
        min(map(processes_of, compared), default=0),
        reference,
    )


def _columns(rule: Rule, records: Sequence[RunRecord]) -> tuple[str, ...]:
    """The rule's columns, those metrics that say more of them, and those that were asked for."""

    def measured(metric: str) -> bool:
        return any(record.measured(metric) is not None for record in records)

    sessions = {r.latency.session for r in records if isinstance(r.latency, Latency)}

    def shown(metric: str, beside: str) -> bool:
        if METRICS[metric].noisy:
            # Ratios to baselines of other rounds do not compare.
            return measured(metric) and len(sessions) <= 1
        return measured(metric) and not measured(beside)

    columns: dict[str, None] = {}
    for column in rule.columns:
        columns[column] = None
        beside = (key for key, metric in METRICS.items() if column in metric.beside)
        columns |= dict.fromkeys(key for key in beside if shown(key, column))
    asked = (key for key, metric in METRICS.items() if metric.on_request and measured(key))
    return tuple(columns | dict.fromkeys(asked))


def _rankable(
    records: Sequence[RunRecord], rule: Rule, relative_to: str | None, another: str
) -> tuple[list[Track], References, list[str]]:
    """Tracks that can be ranked, what they are relative to, and why others cannot."""
    tracks: list[Track] = []
    references: dict[str, dict[str, float]] = {}
    notes: list[str] = []
    for track in rule.tracks:
        missing = {metric: _missing(records, metric) for metric in track.metrics}
        why = [f"{METRICS[metric].label}: {reason}" for metric, reason in missing.items() if reason]
        found = {} if why else _references(records, rule, track, relative_to, another)
        if isinstance(found, str):
            why.append(found[0].upper() + found[1:])
        else:
            references[track.key] = found
        if why:
            notes.append(f"{track.title} is not ranked. {'; '.join(why)}.")
        else:
            tracks.append(track)
    if not rule.tracks:
        notes.append("There is no total: how the metrics made one ranking is not known.")
    return tracks, references, notes


def _missing(records: Sequence[RunRecord], metric: str) -> str | None:
    """Why no ranked record has a metric, or None where one has it; networks tell before images."""
    for role in ("network", "images"):
        values = (r.value(metric) for r in records if r.entry.role == role and r.ranked)
        reasons = []
        for value in values:
            if isinstance(value, Value):
                return None
            reasons.append(value.reason)
        if reasons:
            return reasons[0]
    return None


def _references(
    records: Sequence[RunRecord], rule: Rule, track: Track, relative_to: str | None, another: str
) -> dict[str, float] | str:
    """A track's reference figures by metric, base units; or a sentence on what is missing.

    Counts are relative to the published ones of the baseline. Runtime and memory are relative to
    the baseline measured beside the others, as published ones are another device's.

    Raises:
        UsageError: ``relative_to`` is not among the records.
    """
    formula = track.formula
    if isinstance(formula, RealTime):
        psnr = _interpolated_psnr(records, formula.floor, formula.quality)
        if psnr is not None:
            return {formula.quality: psnr}
        label = METRICS[formula.quality].label
        return f"the score needs the {label} of {formula.floor} on the same images: run it too"
    counted = records[0].protocol.counted_input
    if formula.relative and counted != rule.counted_input:
        theirs, ours = size_text(rule.counted_input), size_text(counted)
        return f"its counts are at LR {theirs}, these at LR {ours}"
    noisy = [metric for metric in formula.relative if not METRICS[metric].portable]
    found = dict(rule.published)
    if noisy and relative_to != PUBLISHED:
        measured = _measured_references(records, rule, noisy, _reference_entry(rule, relative_to))
        if isinstance(measured, str):
            return f"{measured}; {another}"
        found |= measured
    unknown = [METRICS[metric].label for metric in formula.relative if metric not in found]
    if unknown:
        return f"no {', '.join(unknown)} of the baseline was published; {another}"
    return {metric: found[metric] for metric in formula.relative}


def _measured_references(
    records: Sequence[RunRecord], rule: Rule, metrics: Sequence[str], name: str | None
) -> dict[str, float] | str:
    """Figures of the entry measured beside the others; or a sentence on what is missing."""
    if name is None:
        title = rule.baseline.title if rule.baseline else "the baseline"
        return f"scores are relative to {title}, which is not among the networks here"
    found = next((record for record in records if record.entry.name == name), None)
    if found is None and name != (rule.baseline.entry if rule.baseline else None):
        message = f"--relative-to {name}: no such entry in this table"
        known = ", ".join(sorted(record.entry.name for record in records))
        raise UsageError(message, advice=f"There are: {known}; or `published`.")
    if found is not None and not found.ranked:
        return (
            f"scores are relative to the runtime of {name}, whose run ended as {found.status}: "
            "run it again"
        )
    measured = {metric: found.measured(metric) if found else None for metric in metrics}
    lacking = [METRICS[metric].label for metric, value in measured.items() if value is None]
    if lacking:
        return (
            f"scores are relative to the {', '.join(lacking)} of {name}: run it beside the others"
        )
    return {metric: value for metric, value in measured.items() if value is not None}


def _own_baselines(
    records: Sequence[RunRecord], metrics: Sequence[str], name: str | None
) -> dict[str, dict[str, float]]:
    """How the baseline's runtimes in an entry's own rounds compare with its newest ones, by entry.

    Machines drift, so an entry that was timed earlier or later than the newest run of the baseline
    is set in relation to the run that was timed beside it.

    Args:
        records: of the table.
        metrics: that are ranked.
        name: of the entry to whose runtime scores are relative, or None.
    """
    newest = next((r for r in records if r.entry.name == name), None)
    if newest is None or not isinstance(newest.latency, Latency):
        return {}
    references = {metric: newest.measured(metric) for metric in metrics}
    found: dict[str, dict[str, float]] = {}
    for record in records:
        latency = record.latency
        if not isinstance(latency, Latency) or latency.session == newest.latency.session:
            continue
        if latency.baseline is not None and latency.baseline.name == name:
            own = {
                metric: seconds / reference
                for metric, reference in references.items()
                if reference and (seconds := baseline_seconds(latency, metric))
            }
            found |= {record.entry.name: own} if own else {}
    return found


def _reference_entry(rule: Rule, relative_to: str | None) -> str | None:
    """Name of the entry whose runtime scores are relative to; None for published figures."""
    if relative_to is not None:
        return None if relative_to == PUBLISHED else relative_to
    return None if rule.baseline is None else rule.baseline.entry


def _interpolated_psnr(records: Sequence[RunRecord], name: str, metric: str) -> float | None:
    """What an interpolation reaches on the same images, dB; None where it was not measured."""
    floors = [r for r in records if r.entry.name == name and r.entry.role == "floor"]
    return next((psnr for r in floors if (psnr := r.measured(metric)) is not None), None)


def _scored(tracks: Sequence[Track]) -> bool:
    """Whether a total is relative to the baseline's figures."""
    return any(track.formula.reference == "baseline" for track in tracks)
