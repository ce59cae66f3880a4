"""Nothing that a command prints obeys a stranger, wherever his words came from."""

import json

import pytest
from rich.table import Table
from rich.text import Text

from esrbench.cli.console import (
    ERROR_CHARACTERS,
    filled,
    messages,
    open_registry,
    print_by_kind,
    print_json,
    print_notices,
    progress_bar,
    report_error,
    results,
)
from esrbench.entries.registry import Registry
from esrbench.errors import DataError, RegistrationError, UsageError
from esrbench.records import Notice

HOSTILE = "\x1b[31mred\x9b2J\u202eback\u200b\n::stop-commands::a\n  ::error::b\x07"


def require_harmless(text):
    assert all(each.isprintable() for each in text.split("\n"))
    assert not any(each.lstrip().startswith("::") for each in text.split("\n"))
    text.encode()


def tables():
    """The words in a cell, in one too narrow for them, and in the first column of a bare table."""
    for box, width in ((None, None), (None, 13), (Table().box, 13)):
        table = Table(HOSTILE, box=box, padding=(0, 2, 0, 0))
        table.add_column("why", overflow="fold", max_width=width)
        table.add_row(Text(HOSTILE), Text("aaaaaaaaaaaaa::error::said"))
        table.add_row("x", f"[bold]{'b' * 11}[/]::error::said")
        yield table


@pytest.mark.parametrize("terminal", [False, True])
def test_tables_and_lines_hold_no_commands(capsys, monkeypatch, terminal):
    monkeypatch.setenv("COLUMNS", "60")
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    else:
        monkeypatch.delenv("FORCE_COLOR", raising=False)
    for table in tables():
        results().print(table)
    results().print(HOSTILE, markup=False, soft_wrap=True)
    messages().print(HOSTILE, markup=False)
    out, err = capsys.readouterr()
    for text in (out, err):
        if terminal:
            assert "\x1b[2J" not in text
            assert "\x9b" not in text
        else:
            require_harmless(text)
        assert "red" in text


def test_messages_are_lines_of_bounded_length(capsys):
    long = HOSTILE + "x" * 60_000
    print_notices([Notice(code="odd", message=long, advice=long)], subject="a")
    report_error(DataError(long, [long, long], advice=long), as_json=False)
    err = capsys.readouterr().err
    require_harmless(err)
    assert max(map(len, err.splitlines())) <= ERROR_CHARACTERS + 10
    assert err.splitlines()[0].startswith("warning (odd): a: \ufffd[31mred\ufffd2J\ufffdback")


def test_advice_of_several_commands_keeps_its_lines(capsys):
    report_error(UsageError("no runs", advice="Measure first:\nesrbench run a"), as_json=False)
    assert capsys.readouterr().err == "error: no runs\nMeasure first:\nesrbench run a\n"


def test_json_means_the_same_and_is_seen(capsys):
    document = {HOSTILE: [HOSTILE, "\ud800", "\U000e0041", "\u5c0f"]}
    print_json(document)
    out = capsys.readouterr().out
    require_harmless(out)
    assert "\u5c0f" in out
    assert json.loads(out) == document


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_of_an_image_with_an_odd_name(capsys, monkeypatch, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar() as progress:
        task = progress.add_task("begin", total=1)
        progress.update(task, description=f"a: [/red]{HOSTILE}", refresh=True)
    err = capsys.readouterr().err
    if terminal:
        assert "a: [/red]" in err
        assert "\x1b[2J" not in err
        assert "\x9b" not in err
    else:
        assert err == ""


def test_folders_that_cannot_be_registered_share_a_line(monkeypatch, capsys):
    registry = Registry()
    for name in ("team-a", "team-b"):
        error = RegistrationError(f"{name}/submission.toml: no such key", advice="Correct it.")
        registry.broken[name] = error
        registry.notices.append(
            Notice(code="broken-submission", message=error.message, advice="Correct it.")
        )
    same = Notice(code="same-weights", message="c and d have the same weights", advice="Ask.")
    registry.notices.append(same)
    monkeypatch.setattr("esrbench.entries.registry.default_registry", lambda: registry)
    assert open_registry() is registry
    assert capsys.readouterr().err.splitlines() == [
        (
            "warning (broken-submission): 2 entries (team-a, team-b), such as team-a: "
            "team-a/submission.toml: no such key. Correct it. "
            "More: `esrbench help broken-submission`."
        ),
        (
            "warning (same-weights): c and d have the same weights. Ask. "
            "More: `esrbench help same-weights`."
        ),
        "hint: `esrbench validate NAME` says what is wrong with each",
    ]


def test_warnings_of_a_kind_share_a_line_unless_all_are_wanted(capsys):
    unsteady = [
        (f"net{index}", Notice(code="not-steady", message=f"{index} ms apart", advice="Wait."))
        for index in range(12)
    ]
    lone = ("net0", Notice(code="counter-spread", message="FLOPs differ", advice="Name one."))
    print_by_kind([*unsteady, lone, unsteady[0]])
    names = ", ".join(f"net{index}" for index in range(8))
    assert capsys.readouterr().err.splitlines() == [
        (
            f"warning (not-steady): 12 entries ({names}, ...), such as net0: 0 ms apart. Wait. "
            "More: `esrbench help not-steady`."
        ),
        (
            "warning (counter-spread): net0: FLOPs differ. Name one. "
            "More: `esrbench help counter-spread`."
        ),
    ]
    print_by_kind(
        [lone, *unsteady],
        most=1,
        all_shown_by="esrbench run --resume --verbose",
        hint="`esrbench validate NAME` says more",
    )
    assert capsys.readouterr().err.splitlines() == [
        (
            f"warning (not-steady): 12 entries ({names}, ...), such as net0: 0 ms apart. Wait. "
            "More: `esrbench help not-steady`."
        ),
        "1 more kind of warnings: `esrbench run --resume --verbose` shows them",
        "hint: `esrbench validate NAME` says more",
    ]
    print_by_kind([*unsteady, lone], verbose=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 13
    assert said[11].startswith("warning (not-steady): net11: 11 ms apart. Wait. More: ")


def test_a_message_breaks_between_words_and_never_within_a_command():
    text = "warning: others took 9 % (`esrbench doctor --quick` names them); close them.  Then run"
    assert filled(text, 30).splitlines() == [
        "warning: others took 9 %",
        "(`esrbench doctor --quick`",
        "names them); close them.  Then",
        "run",
    ]
    assert filled("  - an image", 80) == "  - an image"
    following = "next: esrbench leaderboard --notes  # how it was measured"
    assert filled(following, 30) == following
