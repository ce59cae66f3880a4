"""What a traceback says of an error."""

import traceback

import pytest

from esrbench.errors import MOST_NOTES, DataError, EsrbenchError, UsageError


def told(error):
    return "".join(traceback.format_exception_only(error)).splitlines()


def test_a_traceback_shows_the_advice():
    assert told(UsageError("wrong", advice="Do it right.")) == [
        "esrbench.errors.UsageError: wrong",
        "Do it right.",
    ]
    assert told(EsrbenchError("wrong")) == ["esrbench.errors.EsrbenchError: wrong"]
    assert str(UsageError("wrong", advice="Do it right.")) == "wrong"


@pytest.mark.parametrize("count", [2, MOST_NOTES + 3])
def test_a_traceback_lists_problems_before_the_advice(count):
    problems = [f"image {number}" for number in range(count)]
    shown = told(DataError("bad images", problems, advice="Correct them."))
    more = ["and 3 more"] if count > MOST_NOTES else []
    assert shown[1:] == [*problems[:MOST_NOTES], *more, "Correct them."]
