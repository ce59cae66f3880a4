"""What the gate found, for people and for CI: terminal, markdown, JUnit XML, annotations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

from esrbench.errors import EXIT_INCONCLUSIVE, EXIT_MEASUREMENT_FAILED, EXIT_OK, EXIT_REGRESSION
from esrbench.gate.verdicts import ENTRY, RUNTIME, VERDICTS, WEIGHTS
from esrbench.metrics import METRICS
from esrbench.plaintext import line, visible
from esrbench.reports.formats import markdown_notice, markdown_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from esrbench.gate.verdicts import Figure, Finding, GateReport

SUMMARY_BYTES: Final = 1024 * 1024
"""What GitHub takes of a step's summary; more than that and it shows nothing of it."""
MISSING: Final = "–"  # noqa: RUF001 - an en dash is what tables print for a missing figure
METRIC_WIDTH: Final = 40
STYLES: Final = {
    "regressed": "bold red",
    "failed": "bold red",
    "missing": "red",
    "inconclusive": "yellow",
    "incomparable": "yellow",
    "improved": "green",
    "unchanged": "dim",
}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HASH_DIGITS = 12
_HEADINGS = {WEIGHTS: "Weights (SHA-256)", RUNTIME: "Runtime ratio", ENTRY: "Entry"}


def gate_terminal(report: GateReport, *, everything: bool = False) -> Iterator[RenderableType]:
    """A table of what is not unchanged, or of everything, what to do, and the outcome.

    Metrics of an entry that could not be compared for one and the same reason share a row.
    """
    from rich.table import Table
    from rich.text import Text

    shown = [each for each in report.findings if everything or each.verdict != "unchanged"]
    if shown:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("entry", no_wrap=True)
        table.add_column("metric", max_width=METRIC_WIDTH)
        table.add_column("verdict", no_wrap=True)
        table.add_column("why", overflow="fold")
        for first, metrics in _shared_rows(sorted(shown, key=_worst_first)):
            verdict = Text(first.verdict, STYLES[first.verdict])
            entry = f"{first.entry} x{first.scale}"
            table.add_row(Text(line(entry)), Text(metrics), verdict, Text(line(first.reason)))
        yield table
    for advice in _advice(shown):
        yield Text(line(advice), "dim")
    yield Text(line(report.outcome), _outcome_style(report))


def gate_markdown(report: GateReport, *, limit: int = SUMMARY_BYTES) -> str:
    """GitHub markdown: outcome, what is not unchanged, and the rest folded away.

    Args:
        report: of a check.
        limit: bytes of UTF-8; rows that do not fit are left out, the least important first, and
            a last line says how many.
    """
    ordered = sorted(report.findings, key=_worst_first)
    striking = [each for each in ordered if each.verdict != "unchanged"]
    quiet = [each for each in ordered if each.verdict == "unchanged"]
    head = ["## esrbench check", "", f"**{markdown_text(report.outcome)}**", ""]
    head += [f"- {markdown_text(advice)}" for advice in _advice(striking)]
    head += map(markdown_notice, report.notices)
    titles = [
        "",
        "| entry | metric | verdict | baseline | now | why |",
        "|---|---|---|--:|--:|---|",
    ]
    opening = ["", f"<details><summary>{len(quiet)} unchanged</summary>", *titles]
    closing = ["", "</details>"]
    note = "\n_{} rows were left out: a summary may have {:,} bytes._\n"
    fixed = [*head, *(titles if striking else []), *(opening if quiet else []), *closing]
    room = limit - _bytes(fixed) - len(note.format(len(ordered), limit).encode())
    rows = [_row(each) for each in (*striking, *quiet)]
    fitting = 0
    while fitting < len(rows) and room >= (size := _bytes([rows[fitting]])):
        room -= size
        fitting += 1
    lines = list(head)
    if striking:
        lines += [*titles, *rows[: min(fitting, len(striking))]]
    if quiet and fitting > len(striking):
        lines += [*opening, *rows[len(striking) : fitting], *closing]
    text = "\n".join(lines) + "\n"
    if fitting < len(rows):
        text += note.format(len(rows) - fitting, limit)
    content = text.encode()
    # Only a limit below the head itself gets here.
    return text if len(content) <= limit else content[:limit].decode(errors="ignore")


def gate_junit(report: GateReport) -> str:
    """JUnit XML: an entry is a class, a metric a test.

    A regression is a failure, a failed measurement an error; what could not be judged is skipped,
    or a failure where the report is strict.
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


def gate_annotations(report: GateReport) -> Iterator[str]:
    """Workflow commands of GitHub Actions, one an entry and level, worst level first.

    GitHub shows ten of each level a step, so metrics of one entry share a line.
    """
    grouped: dict[str, dict[str, list[Finding]]] = {"error": {}, "warning": {}, "notice": {}}
    for each in report.findings:
        level = _level(each, strict=report.strict)
        if level is not None:
            grouped[level].setdefault(f"{each.entry} x{each.scale}", []).append(each)
    for level, entries in grouped.items():
        for entry, findings in entries.items():
            verdicts = [verdict for verdict in VERDICTS if _any(findings, verdict)]
            title = _property(line(f"esrbench: {entry} {', '.join(verdicts)}"))
            lines = [f"{_heading(each)} {each.verdict}: {each.reason}" for each in findings]
            message = _escape("\n".join(map(line, [*lines, *_advice(findings)])))
            yield f"::{level} title={title}::{message}"


def _shared_rows(findings: Sequence[Finding]) -> Iterator[tuple[Finding, str]]:
    """One finding a row of the terminal, and the headings of all that share it."""
    rows: dict[tuple[object, ...], list[Finding]] = {}
    for each in findings:
        compared = each.verdict in {"regressed", "improved", "unchanged"}
        own = each.metric if compared else None
        key = (each.entry, each.scale, each.verdict, each.reason, each.data, own)
        rows.setdefault(key, []).append(each)
    for row in rows.values():
        *others, last = row
        yield last, ", ".join([*map(_label, others), _heading(last)])


def _outcome_style(report: GateReport) -> str:
    if report.judged == EXIT_OK:
        return "green"
    mild = report.judged == EXIT_INCONCLUSIVE and not report.strict
    return STYLES["inconclusive" if mild else "regressed"]


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


def _any(findings: Sequence[Finding], verdict: str) -> bool:
    return any(finding.verdict == verdict for finding in findings)


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


def _account(finding: Finding) -> str:
    lines = [
        finding.subject,
        f"baseline: {_figure(finding.before)}",
        f"now: {_figure(finding.now)}",
        finding.reason,
    ]
    return "\n".join([*lines, *([finding.advice] if finding.advice else [])])


def _advice(findings: Sequence[Finding]) -> list[str]:
    """What to do, each once, in order."""
    return list(dict.fromkeys(each.advice for each in findings if each.advice))


def _row(finding: Finding) -> str:
    cells = (
        f"{finding.entry} x{finding.scale}",
        _heading(finding),
        finding.verdict,
        _figure(finding.before),
        _figure(finding.now),
        finding.reason,
    )
    return f"| {' | '.join(markdown_text(cell) for cell in cells)} |"


def _bytes(lines: Sequence[str]) -> int:
    return sum(len(line.encode()) + 1 for line in lines)


def _xml(text: str) -> str:
    """Text without what XML 1.0 forbids or nobody sees; line breaks stay."""
    return "\n".join(map(visible, _NOT_XML.sub("\ufffd", text).split("\n")))


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
