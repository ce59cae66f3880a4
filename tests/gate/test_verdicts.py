import pytest
from builders import finding, gate_report

from esrbench.gate.verdicts import VERDICTS


def report(*verdicts, **fields):
    return gate_report(*map(finding, verdicts), **fields)


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
    assert report("unchanged").outcome == "No regression: baseline.json; 1 unchanged."
    said = report("incomparable", strict=True).outcome
    assert said == "Not judged in full, which --strict refuses: baseline.json; 1 incomparable."
    said = report("inconclusive", lenient=True).outcome
    assert said == "Not judged in full, which --lenient lets pass: baseline.json; 1 inconclusive."
    assert report("regressed", lenient=True).outcome.startswith("Regression: baseline.json")
    assert report().outcome.endswith("nothing was compared.")


def test_counts_stay_integers_in_json():
    document = finding("regressed", before=433_448, now=433_449).model_dump_json()

    assert '"before":433448,' in document
