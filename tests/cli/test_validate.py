"""``esrbench validate``: what is printed when, and what ``--fix`` writes."""

from __future__ import annotations

import json

import pytest
from builders import write_files

from esrbench.cli import validate as command
from esrbench.runs import validation
from esrbench.runs.checks import Check, broken, kept
from esrbench.runs.validation import ValidationReport

MANIFEST = """# by hand
schema = 1

[model]
name = "{name}"   # TEAM-NAME
factory = "model:Net"
scales = [4]

[team]
name = "Team"
contact = "somebody"
"""
NEEDED = {"min_lr_size": 33, "pad_multiple": 16}


@pytest.fixture
def folders(tmp_path):
    """Two submissions that nobody builds here."""
    for name in ("team-one", "team-two"):
        files = {"submission.toml": MANIFEST.format(name=name), "model.py": ""}
        write_files(tmp_path / name, files)
    return [tmp_path / "team-one", tmp_path / "team-two"]


@pytest.fixture
def events(monkeypatch):
    """What happened, in order; the first entry passes once it declares what it needs."""
    seen = []

    def validate_entry(descriptor, scale, **_):
        seen.append(f"validate {descriptor.name}")
        declared = {field: getattr(descriptor, field) for field in NEEDED}
        broke = descriptor.name == "team-one" and declared != NEEDED
        check = broken("upscales 1x1", "too small") if broke else kept("upscales 1x1", "fine")
        declare = NEEDED if broke else {}
        return ValidationReport(
            entry=descriptor.name, scale=scale, checks=(check,), declare=declare
        )

    printed = command.print_table

    def print_table(table, **options):
        seen.append("print")
        printed(table, **options)

    monkeypatch.setattr(validation, "validate_entry", validate_entry)
    monkeypatch.setattr(command, "print_table", print_table)
    return seen


def test_an_interpreter_is_given_by_network_as_for_run(in_process, folders, events):
    for given, says in (("team-one", "expected NAME=PATH"), ("imdn=env", "not among the networks")):
        done = in_process("validate", *folders, "--python", given)
        assert done.returncode == 2
        assert says in done.stderr
    assert events == []


def test_each_report_is_printed_as_it_is_made_and_a_summary_at_the_end(in_process, folders, events):
    done = in_process("validate", *folders)
    assert done.returncode == 4
    assert events == ["validate team-one", "print", "validate team-two", "print", "print"]
    assert "1 of 2 pass" in done.stdout
    assert done.stdout.strip().splitlines()[-2:] == [
        "team-two x4: passed",
        "1 of 2 pass. Failed: team-one x4.",
    ]
    assert "too small" in done.stdout
    assert "fine" not in done.stdout
    assert "--verbose` shows every check" in done.stderr
    assert (folders[0] / "submission.toml").read_text() == MANIFEST.format(name="team-one")


def test_every_check_is_printed_of_one_entry_and_with_verbose(in_process, folders, events):
    one = in_process("validate", folders[1])
    assert "fine" in one.stdout
    assert "hint" not in one.stderr
    both = in_process("validate", *folders, "--verbose")
    assert "fine" in both.stdout
    assert both.stdout.strip().splitlines()[-1] == "1 of 2 pass. Failed: team-one x4."
    assert "hint" not in both.stderr
    assert events.count("print") == 4


def test_a_warning_of_one_among_many_is_named_in_its_line(in_process, folders, monkeypatch):
    def warned(descriptor, scale, **_):
        checks = (kept("manifest", "fine"), Check(name="code", outcome="warning", detail="odd"))
        return ValidationReport(entry=descriptor.name, scale=scale, checks=checks)

    monkeypatch.setattr(validation, "validate_entry", warned)
    done = in_process("validate", *folders)
    assert done.stdout.splitlines() == [
        "team-one x4: passed; warnings: code",
        "team-two x4: passed; warnings: code",
        "2 of 2 pass.",
    ]


def test_json_is_one_document(in_process, folders, events):
    done = in_process("validate", *folders, "--json")
    assert events == ["validate team-one", "validate team-two", "print"]
    one, two = json.loads(done.stdout)
    assert (one["declare"], two["declare"]) == (NEEDED, {})


def test_fix_writes_what_was_found_and_validates_again(in_process, folders, events):
    done = in_process("validate", *folders, "--fix")
    assert done.returncode == 0, done.stdout
    assert events[:3] == ["validate team-one", "validate team-one", "print"]
    path = folders[0] / "submission.toml"
    assert f"wrote min_lr_size = 33, pad_multiple = 16 into {path}" in done.stderr
    lines = path.read_text().splitlines()
    assert {"# by hand", 'name = "team-one"   # TEAM-NAME', "min_lr_size = 33"} <= set(lines)
    assert lines.index("pad_multiple = 16") < lines.index("[team]")
    unchanged = MANIFEST.format(name="team-two")
    assert (folders[1] / "submission.toml").read_text() == unchanged


def test_a_folder_that_cannot_be_read_is_printed_first(in_process, folders, events):
    (folders[1] / "submission.toml").write_text("schema = 2")
    done = in_process("validate", *folders)
    assert events == ["print", "validate team-one", "print", "print"]
    assert done.returncode == 4


def test_fix_says_why_it_wrote_nothing(in_process, folders, events):  # noqa: ARG001
    done = in_process("validate", folders[1], "bicubic", "--scale", "4", "--fix")
    assert "team-two x4: --fix wrote nothing: no check failed" in done.stderr
    assert "bicubic x4: --fix wrote nothing: no check failed" in done.stderr
