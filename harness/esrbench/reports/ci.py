"""The gate's findings, for people and for CI: terminal, Markdown, JUnit XML, annotations."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from esrbench.errors import EXIT_INCONCLUSIVE, EXIT_MEASUREMENT_FAILED, EXIT_OK, EXIT_REGRESSION
from esrbench.gate.verdicts import ENTRY, RUNTIME, VERDICTS, WEIGHTS
from esrbench.metrics import METRICS
from esrbench.plaintext import line, visible
from esrbench.reports.formats import markdown
from esrbench.reports.table import MISSING, Heading, Note, Section, Span, Table, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from esrbench.gate.verdicts import Figure, Finding, GateReport, Verdict
    from esrbench.reports.table import TableCell, Tone

SUMMARY_BYTES: Final = 1024 * 1024
"""GitHub's limit for a step's summary; it shows nothing of a longer one."""
COMMENT_BYTES: Final = 65_536
"""GitHub's limit for a comment. It counts characters, so this number of bytes is never too many."""
TONES: Final[dict[Verdict, Tone]] = {
    "regressed": "wrong",
    "failed": "wrong",
    "missing": "wrong",
    "inconclusive": "doubtful",
    "incomparable": "doubtful",
    "improved": "good",
    "unchanged": "faint",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_A_JOB = re.compile(r"[^\w ./-]", re.ASCII)
_HASH_DIGITS = 12
_MOST_DIGITS = 17
"""Digits behind the point, as many as a float has."""
_HEADINGS = {WEIGHTS: "Weights (SHA-256)", RUNTIME: "Runtime ratio", ENTRY: "Entry"}


def gate_table(
    report: GateReport, *, brief: bool = False, everything: bool = True, left_out: int = 0
) -> Table:
    """The findings, the most serious first, with advice and the outcome.

    Args:
        report: result of a check.
        brief: make a short table for a terminal. It has no columns of figures, because the reasons
            contain them. Metrics of an entry that are incomparable for the same reason share a row.
        everything: also show what is unchanged.
        left_out: number of findings without a row; the least important are left out first.
    """
    ordered = sorted(report.findings, key=_worst_first)
    shown = ordered[: len(ordered) - left_out]
    striking = [each for each in shown if each.verdict != "unchanged"]
    quiet = [each for each in shown if everything and each.verdict == "unchanged"]
    folded = "" if brief else f"{report.counts.get('unchanged', 0)} unchanged"
    figures = () if brief else (Heading("baseline", align="right"), Heading("now", align="right"))
    metric, why = Heading("metric", prose=True), Heading("why", prose=True)
    return Table(
        headings=(Heading("entry"), metric, Heading("verdict"), *figures, why),
        sections=tuple(
            Section(tuple(_rows(findings, brief=brief)), folded=name)
            for findings, name in ((striking, ""), (quiet, folded))
            if findings
        ),
        caption="" if brief else "esrbench check",
        outcome=Span(report.outcome, _outcome_tone(report)),
        notes=tuple(map(Note, _advice(ordered))),
        notices=() if brief else report.notices,
        records=[each.model_dump(mode="json") for each in shown],
    )


def _rows(findings: Sequence[Finding], *, brief: bool) -> Iterator[tuple[TableCell, ...]]:
    named = _shared_rows(findings) if brief else ((each, _heading(each)) for each in findings)
    for each, metrics in named:
        entry, verdict = (
            plain(f"{each.entry} x{each.scale}"),
            plain(each.verdict, TONES[each.verdict]),
        )
        figures = () if brief else map(plain, _as_shown(each))
        yield entry, plain(metrics), verdict, *figures, plain(each.reason)


def gate_summary(report: GateReport, *, limit: int = SUMMARY_BYTES) -> str:
    """The table in Markdown, up to a size: rows that do not fit are left out and counted.

    Args:
        report: result of a check.
        limit: bytes of UTF-8.
    """

    def text(left_out: int) -> bytes:
        table = gate_table(report, left_out=left_out)
        if left_out:
            said = f"{left_out} rows were left out: a summary may have at most {limit:,} bytes."
            table = replace(table, notes=(*table.notes, Note(said)))
        return markdown.render(table).encode()

    whole = text(0)
    if len(whole) > limit:
        rows = range(1, len(report.findings))
        whole = text(1 + bisect_left(rows, -limit, key=lambda each: -len(text(each))))
    # The text is cut only if the limit is smaller than the parts around the rows.
    return whole[:limit].decode(errors="ignore")


def gate_comment(report: GateReport, job: str) -> str:
    """The summary for a pull request, below a hidden line that names the job.

    Args:
        report: result of a check.
        job: job of the workflow; it finds its earlier comment by that line.
    """
    marker = f"<!-- esrbench check: {re.sub(_NOT_A_JOB, '', job)} -->\n"
    return marker + gate_summary(report, limit=COMMENT_BYTES - len(marker))


def gate_junit(report: GateReport) -> str:
    """JUnit XML: an entry is a class, a metric a test.

    A regression is a failure, and a failed measurement is an error. A metric that could not be
    judged is skipped, or is a failure if the report is strict.
    """
    outcomes = [_junit_outcome(each, strict=report.strict) for each in report.findings]
    counts = {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failure")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
    }
    root = ET.Element("testsuites", {"name": "esrbench", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "esrbench check", **counts, "time": "0"})
    for each, outcome in zip(report.findings, outcomes, strict=True):
        name = each.metric + (f"[{each.data}]" if each.data else "")
        classname = f"{each.entry} x{each.scale}"
        case = ET.SubElement(
            suite,
            "testcase",
            {"classname": _xml(classname), "name": _xml(name), "time": "0"},
        )
        if outcome is None:
            continue
        said = {"message": _xml(f"{each.verdict}: {each.reason}")}
        if outcome != "skipped":
            said["type"] = each.verdict
        ET.SubElement(case, outcome, said).text = _xml(_account(each))
    out = ET.SubElement(suite, "system-out")
    out.text = _xml(report.outcome)
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def gate_annotations(report: GateReport, places: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    """Workflow commands of GitHub Actions, one an entry and level, worst level first.

    GitHub shows ten of each level for a step, so metrics of one entry share a line.

    Args:
        report: result of a check.
        places: file and line of each network that the checkout has, by name.
    """
    grouped: dict[str, dict[str, list[Finding]]] = {"error": {}, "warning": {}, "notice": {}}
    for each in report.findings:
        level = _level(each, strict=report.strict)
        if level is not None:
            grouped[level].setdefault(f"{each.entry} x{each.scale}", []).append(each)
    for level, entries in grouped.items():
        for entry, findings in entries.items():
            verdicts = dict.fromkeys(each.verdict for each in sorted(findings, key=_worst_first))
            title = _property(line(f"esrbench: {entry} {', '.join(verdicts)}"))
            lines = [f"{_heading(each)} {each.verdict}: {each.reason}" for each in findings]
            message = _escape("\n".join(map(line, [*lines, *_advice(findings)])))
            file, number = places.get(findings[0].entry, ("", 0))
            place = f"file={_property(line(file))},line={number}," if file else ""
            yield f"::{level} {place}title={title}::{message}"


def _shared_rows(findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """One finding for each row of the terminal, and the headings of all that share the row."""
    rows: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        compared = each.verdict in {"regressed", "improved", "unchanged"}
        own = each.metric if compared else None
        key = (each.entry, each.scale, each.verdict, each.reason, each.data, own)
        rows.setdefault(key, []).append(each)
    for row in rows.values():
        *others, last = row
        yield last, ", ".join([*map(_label, others), _heading(last)])


def _outcome_tone(report: GateReport) -> Tone:
    if report.judged == EXIT_OK:
        return "good"
    return "doubtful" if report.judged == EXIT_INCONCLUSIVE and not report.strict else "wrong"


def _level(finding: Finding, *, strict: bool) -> str | None:
    if finding.exit_code in {EXIT_REGRESSION, EXIT_MEASUREMENT_FAILED}:
        return "error"
    if finding.exit_code == EXIT_INCONCLUSIVE:
        return "error" if strict else "warning"
    return "notice" if finding.verdict == "improved" else None


def _junit_outcome(finding: Finding, *, strict: bool) -> str | None:
    return {
        EXIT_OK: None,
        EXIT_REGRESSION: "failure",
        EXIT_MEASUREMENT_FAILED: "error",
        EXIT_INCONCLUSIVE: "failure" if strict else "skipped",
    }[finding.exit_code]


def _worst_first(finding: Finding) -> int:
    return VERDICTS.index(finding.verdict)


def _heading(finding: Finding) -> str:
    label = _label(finding)
    return f"{label} on {finding.data}" if finding.data else label


def _label(finding: Finding) -> str:
    metric = finding.metric
    return METRICS[metric].label if metric in METRICS else _HEADINGS[metric]


def _figure(value: Figure) -> str:
    match value:
        case None:
            return MISSING
        case str():
            return value[:_HASH_DIGITS]
        case float() if not value.is_integer():
            return str(value)
        case _:
            return f"{int(value):,}"


def _as_shown(finding: Finding) -> tuple[str, str]:
    """Both figures as other tables show their metric, with more digits if only those differ."""
    figures = (finding.before, finding.now)
    shown = METRICS.get(finding.metric)
    numbers = {each for each in figures if isinstance(each, int | float)}
    if shown is None or not numbers:
        return _figure(finding.before), _figure(finding.now)
    finer = (replace(shown, digits=digits) for digits in range(shown.digits, _MOST_DIGITS))
    shown = next(
        (each for each in finer if len(set(map(each.show, numbers))) == len(numbers)), shown
    )
    before, now = (
        shown.show(each) if isinstance(each, int | float) else _figure(each) for each in figures
    )
    return before, now


def _account(finding: Finding) -> str:
    before, now = _figure(finding.before), _figure(finding.now)
    lines = [finding.subject, f"baseline: {before}", f"now: {now}", finding.reason]
    return "\n".join([*lines, *filter(None, [finding.advice])])


def _advice(findings: Sequence[Finding]) -> list[str]:
    """The advice of all findings, each once, in order."""
    return list(dict.fromkeys(each.advice for each in findings if each.advice))


def _xml(text: str) -> str:
    """Text without characters that XML 1.0 forbids or that are invisible; line breaks stay."""
    return "\n".join(map(visible, _NOT_XML.sub("\ufffd", text).split("\n")))


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
