"""Strangers' text is one short line that commands nothing and hides nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esrbench.plaintext import (
    LOG_LINE_CHARACTERS,
    MESSAGE_CHARACTERS,
    in_ascii,
    line,
    lines,
    plain,
    plural,
    sentence,
    series,
)

REPLACED = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "text",
    [
        "conv2d of 3x3, 64 \N{MULTIPLICATION SIGN} 64",
        "aten::convolution, std::bad_alloc",
        "\u5c0f\u884c\u661f \u00e9\u0301 \U0001f600 a[0:2] ##",
        "50 % of 1.5 GiB (see docs/trust.md#time)",
    ],
)
def test_ordinary_text_is_kept(text):
    assert line(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", f"{REPLACED}[31mred{REPLACED}[0m"),
        ("\x9b2J\x07\x00", f"{REPLACED}2J{REPLACED}{REPLACED}"),  # C1, bell, null
        ("a\u202eb\u2066c\u200e", f"a{REPLACED}b{REPLACED}c{REPLACED}"),  # directions
        ("a\u200b\ufeff\u00ad\u2060b", f"a{REPLACED * 4}b"),  # no width
        ("a\u115f\u3164\u2800\ufe0f\U000e0100b", f"a{REPLACED * 5}b"),  # printable, unseen
        ("\ud800x\udfff", f"{REPLACED}x{REPLACED}"),  # lone surrogates
        (
            "one\ntwo\r\nthree\u2028four\u0085five\x0bsix\tseven",
            "one two three four five six seven",
        ),
        ("no\u00a0break\u3000space", "no break space"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
    ],
)
def test_what_commands_or_hides_is_replaced(text, shown):
    assert line(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "::stop-commands::token",
        "  ::error file=a,line=1::said by an entry",
        "fine\n::add-mask::e",
        "fine \u00a0::set-output name=x::y",
        "::::warning::x",
        ":::warning::x",
        "###[error]x",
        "##[error]x",
        "fine ##vso[task.setvariable variable=a]b",
        "##teamcity[buildStop]",
    ],
)
def test_no_ci_runner_reads_a_command(text):
    shown = line(text)
    assert not re.search(r"(?:^|\W)::", shown)
    assert not re.search(r"##\w*\[", shown)


def test_length_is_bounded():
    assert line("x" * 60_000) == "x" * (MESSAGE_CHARACTERS - 3) + "..."
    assert line("x" * 20, 10) == "xxxxxxx..."
    assert line("x" * 10, 10) == "x" * 10
    log = lines("first\n" + "y" * 60_000 + "\n::error::z\n")
    assert [len(each) for each in log.split("\n")] == [5, LOG_LINE_CHARACTERS, 11, 0]


def test_every_string_of_a_document_is_cleaned_keys_included():
    document = {"a\x1b": ["b\nc", {"::d::": None, "e": [1, 2.5, True, "\u202e"]}], "f": "g"}
    assert plain(document) == {
        f"a{REPLACED}": ["b c", {": :d::": None, "e": [1, 2.5, True, REPLACED]}],
        "f": "g",
    }


@given(st.text(max_size=300))
def test_whatever_comes_in_one_plain_line_comes_out(text):
    shown = line(text)
    assert shown.isprintable()
    assert shown.encode("utf-8", "strict").decode() == shown
    assert len(shown) <= MESSAGE_CHARACTERS
    assert line(shown) == shown


def test_a_number_has_the_right_form_of_its_noun():
    assert plural(1, "pass") == "1 pass"
    assert [plural(2, each) for each in ("entry", "pass", "image")] == [
        "2 entries",
        "2 passes",
        "2 images",
    ]
    assert plural(0, "other") == "0 others"


def test_a_sentence_ends_once():
    said = ["einops is not installed", "It failed.", "Which one?", ""]
    expected = ["einops is not installed.", "It failed.", "Which one?", ""]
    assert [sentence(each) for each in said] == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("27.11\u2081\u2082, 29.0\u208b\u2081", "27.11_12, 29.0_-1"),
        ("32.21\u00b9 0.89\u00b2\u2020 0.7\u2021", "32.21^1 0.89^2+ 0.7++"),
        ("\u00d72 \u2500\u2500 \u2264 3 \u00b5m\u2026", "x2 -- <= 3 um..."),
        ("J\u00e9r\u00f4me \u5c0f", "Jerome ?"),
        ("plain: as it is", "plain: as it is"),
    ],
)
def test_text_in_ascii(text, shown):
    assert in_ascii(text) == shown


def test_no_sign_begins_a_command_in_ascii():
    made = in_ascii("".join(map(chr, range(128, 0x10000))))
    assert made.isascii()
    assert not set(made) & set(":#[\n\x1b")


@pytest.mark.parametrize(("words", "text"), [("a", "a"), ("ab", "a and b"), ("abc", "a, b and c")])
def test_words_are_listed_as_in_a_sentence(words, text):
    assert series(words) == text
