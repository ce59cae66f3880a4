from __future__ import annotations

import pytest

from esrbench.gate.verdicts import VERDICTS, Finding, GateReport


def finding(verdict, **fields):
    return Finding.model_validate(
        {
            "entry": "net",
            "scale": 4,
            "metric": "params",
            "verdict": verdict,
            "before": 1,
            "now": 1,
            "reason": "so it is",
            **fields,
        }
    )


def report(*verdicts, **fields):
    findings = tuple(finding(each) for each in verdicts)
    return GateReport(baseline="file", findings=findings).model_copy(update=fields)


@pytest.mark.parametrize(
    ("verdicts", "code", "strict_code", "lenient_code"),
    [
        (["unchanged"], 0, 0, 0),
        (["improved", "unchanged"], 0, 0, 0),
        (["regressed"], 1, 1, 1),
        (["missing"], 1, 1, 1),
        (["inconclusive", "unchanged"], 3, 1, 0),
        (["incomparable"], 3, 1, 0),
        (["failed"], 4, 4, 4),
        (["failed", "inconclusive"], 4, 4, 4),
        (["regressed", "failed", "incomparable"], 1, 1, 1),
        ([], 3, 1, 3),
    ],
)
def test_exit_codes(verdicts, code, strict_code, lenient_code):
    assert report(*verdicts).exit_code == code
    assert report(*verdicts, strict=True).exit_code == strict_code
    assert report(*verdicts, lenient=True).exit_code == lenient_code


def test_what_the_baseline_lacks_is_no_regression():
    assert finding("missing", before=None).exit_code == 3
    assert finding("missing", before=7, now=None).exit_code == 1


def test_counts_name_the_worst_first():
    counts = report(*reversed(VERDICTS), "unchanged").counts

    assert list(counts) == list(VERDICTS)
    assert counts["unchanged"] == 2


def test_the_outcome_says_why_the_code_is_another():
    assert report("unchanged").outcome == "No regression: file; 1 unchanged."
    said = report("incomparable", strict=True).outcome
    assert said == "Not judged in full, which --strict refuses: file; 1 incomparable."
    said = report("inconclusive", lenient=True).outcome
    assert said == "Not judged in full, which --lenient lets pass: file; 1 inconclusive."
    assert report("regressed", lenient=True).outcome.startswith("Regression: file")
    assert report().outcome.endswith("nothing was compared.")


def test_counts_stay_integers_in_json():
    document = finding("regressed", before=433_448, now=433_449).model_dump_json()

    assert '"before":433448,' in document
