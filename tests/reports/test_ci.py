import re
from xml.etree import ElementTree as ET

import pytest
from builders import finding
from builders import gate_report as report
from builders import shown as printed

from esrbench.gate.verdicts import VERDICTS
from esrbench.records import Notice
from esrbench.reports.ci import (
    COMMENT_BYTES,
    SUMMARY_BYTES,
    gate_annotations,
    gate_comment,
    gate_junit,
    gate_summary,
    gate_table,
)
from esrbench.reports.table import MISSING

EVERY = report(
    *(
        finding(verdict, metric=metric)
        for verdict, metric in zip(
            VERDICTS,
            ("params", "macs_aten", "psnr_y", "runtime", "ssim_y", "weights", "psnr_rgb"),
            strict=True,
        )
    )
)


def test_junit_counts_what_it_holds():
    root = ET.fromstring(gate_junit(EVERY))  # noqa: S314 - our own

    assert root.tag == "testsuites"
    (suite,) = root.findall("testsuite")
    cases = suite.findall("testcase")
    for node in (root, suite):
        held = {
            "tests": len(cases),
            "failures": len(suite.findall("testcase/failure")),
            "errors": len(suite.findall("testcase/error")),
            "skipped": len(suite.findall("testcase/skipped")),
        }
        assert {key: int(node.attrib[key]) for key in held} == held
    # Regressed and missing; failed; inconclusive and incomparable.
    assert (held["failures"], held["errors"], held["skipped"]) == (2, 1, 2)
    for case in cases:
        assert set(case.attrib) == {"classname", "name", "time"}
        assert len(case) <= 1
    assert cases[0].attrib["classname"] == "rfdn x4"
    failure = cases[0].find("failure")
    assert failure.attrib["type"] == "regressed"
    assert "baseline: 433,448\nnow: 433,449" in (failure.text or "")


def test_junit_of_a_strict_report_skips_nothing():
    strict = EVERY.model_copy(update={"strict": True})
    root = ET.fromstring(gate_junit(strict))  # noqa: S314 - our own

    assert (root.attrib["skipped"], root.attrib["failures"]) == ("0", "4")


def test_junit_survives_any_text():
    nasty = 'a < b & "c" \x00\x1b[31m\ud800 ]]> é'
    text = gate_junit(report(finding(reason=nasty, data="set<5>", metric="psnr_y")))

    case = ET.fromstring(text.encode()).find("testsuite/testcase")  # noqa: S314 - our own
    assert case.attrib["name"] == "psnr_y[set<5>]"
    failure = case.find("failure")
    assert 'a < b & "c" \ufffd\ufffd[31m\ufffd ]]> é' in failure.attrib["message"]


def test_annotations_escape_what_github_reads():
    (line,) = gate_annotations(
        report(finding(reason="100 % worse:\r\nby far, ::error::x", advice="Go, now: 1")), {}
    )

    head, _, message = line.removeprefix("::").partition("::")
    assert head == "error title=esrbench%3A rfdn x4 regressed"
    assert message == "Params regressed: 100 %25 worse: by far, : :error::x%0AGo, now: 1"


def test_annotations_stand_at_the_network_where_the_checkout_has_it():
    here, other = gate_annotations(
        report(finding(), finding("failed", entry="imdn")), {"rfdn": ("nets/a, b.py", 12)}
    )

    assert here.startswith("::error file=nets/a%2C b.py,line=12,title=esrbench%3A rfdn x4 ")
    assert other.startswith("::error title=esrbench%3A imdn x4 ")


def test_a_comment_tells_whose_it_is_and_has_a_bounded_size():
    long = report(*(finding(entry=f"net{index}", reason="é" * 500) for index in range(200)))
    text = gate_comment(long, "CI <b> --> @me\nefficiency")
    marker, _, rest = text.partition("\n")

    assert marker == "<!-- esrbench check: CI b -- meefficiency -->"
    assert rest.startswith("### esrbench check\n")
    assert "rows were left out" in rest
    assert len(text.encode()) <= COMMENT_BYTES


def test_annotations_are_one_an_entry_and_level():
    lines = list(gate_annotations(EVERY, {}))

    levels = [re.match("::([a-z]+) title=", line) for line in lines]
    assert [match and match[1] for match in levels] == ["error", "warning", "notice"]
    assert "regressed%2C failed%2C missing" in lines[0]
    assert lines[1].count("%0A") == 1
    strict = EVERY.model_copy(update={"strict": True})
    assert [line.split()[0] for line in gate_annotations(strict, {})] == ["::error", "::notice"]
    assert list(gate_annotations(report(finding("unchanged")), {})) == []


def test_markdown_shows_the_worst_first_and_folds_the_rest():
    notice = Notice(code="unreadable-record", message="x.json", advice="Move it.")
    text = gate_summary(EVERY.model_copy(update={"notices": (notice,)}))

    rows = [line for line in text.splitlines() if line.startswith("| rfdn")]
    assert [row.split(" | ")[2].strip() for row in rows] == list(VERDICTS)
    assert "| rfdn x4 | Params | regressed | 0.433448 M | 0.433449 M |" in re.sub(" +", " ", text)
    assert text.index("<details><summary>1 unchanged</summary>") > text.index("improved")
    assert "- **unreadable-record**: x.json. Move it." in text
    assert "left out" not in text


@pytest.mark.parametrize(
    ("metric", "before", "now", "shown"),
    [
        ("macs_aten", 27_096_670_208, 28_000_000_000, "27.10 G | 28.00 G"),
        # More digits than other tables have where those are equal.
        ("macs_aten", 27_096_670_208, 27_096_670_209, "27.096670208 G | 27.096670209 G"),
        ("psnr_y", 28.1234, 28.1234, "28.12 dB | 28.12 dB"),
        ("psnr_y", None, 28.1234, f"{MISSING} | 28.12 dB"),
        ("runtime", 1.0, 1.25, "1 | 1.25"),
        ("weights", "a" * 64, None, "aaaaaaaaaaaa | " + MISSING),
    ],
)
def test_markdown_shows_figures_as_other_tables_do(metric, before, now, shown):
    text = gate_summary(report(finding(metric=metric, before=before, now=now)))

    assert f"| regressed | {shown} |" in re.sub(" +", " ", text)


def test_markdown_cells_stay_cells():
    text = gate_summary(report(finding(reason="a | b\n<script> & [c](http://d.e) @all \x1b[2J")))

    (row,) = [line for line in text.splitlines() if line.startswith("| rfdn")]
    assert row.endswith(
        r"| a \| b &lt;script&gt; &amp; \[c\](http:<!-- -->//d.e) @<!-- -->all "
        "\N{REPLACEMENT CHARACTER}\\[2J |"
    )


@pytest.mark.parametrize("limit", [SUMMARY_BYTES, 5000, 2000])
def test_markdown_never_exceeds_its_limit_and_says_what_was_cut(limit):
    bad = [finding(entry=f"bad{index}", reason="ü" * 200) for index in range(10)]
    good = [finding("unchanged", entry=f"good{i}", reason="ü" * 400) for i in range(1300)]

    text = gate_summary(report(*good, *bad), limit=limit)

    assert limit - 1000 < len(text.encode()) <= limit
    shown = len(re.findall(r"^\| (?:bad|good)", text, re.MULTILINE))
    assert (
        f"- {1310 - shown} rows were left out: a summary may have at most {limit:,} bytes." in text
    )
    # Nothing good is shown while something bad is not.
    assert ("| good" not in text) or len(re.findall(r"^\| bad", text, re.MULTILINE)) == 10
    assert text.count("<details>") == text.count("</details>")


def shown(report, *, everything=True):
    return printed(gate_table(report, brief=True, everything=everything), width=160).splitlines()


def test_the_terminal_hides_what_is_unchanged():
    brief, full = shown(EVERY, everything=False), shown(EVERY)
    assert not any(" unchanged " in line for line in brief[:-1])
    # A blank line stands between what is unchanged and the rest.
    assert len(full) == len(brief) + 2
    assert brief[-1].startswith("Regression: baseline.json; 1 regressed, 1 failed")


def test_the_terminal_says_one_reason_once():
    scores = [
        finding("failed", metric=metric, data="demo", reason="load-error")
        for metric in ("psnr_rgb", "psnr_y", "ssim_y")
    ]
    other = finding("failed", metric="psnr_y", data="set5", reason="load-error")
    same = [finding(metric=metric, reason="1 then, 2 now") for metric in ("params", "macs_aten")]

    lines = shown(report(*scores, other, *same))

    rows = [re.split("  +", line.strip()) for line in lines if " rfdn x4 " in line]
    assert rows == [
        ["rfdn x4", "Params", "regressed", "1 then, 2 now"],
        ["rfdn x4", "FLOPs (aten)", "regressed", "1 then, 2 now"],
        ["rfdn x4", "PSNR, PSNR-Y, SSIM-Y on demo", "failed", "load-error"],
        ["rfdn x4", "PSNR-Y on set5", "failed", "load-error"],
    ]
