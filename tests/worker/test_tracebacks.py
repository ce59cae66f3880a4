"""Failures are told by file and line of the entry, as its folder has them."""

from __future__ import annotations

import pytest

from esrbench.entries.targets import import_submitted
from esrbench.plaintext import relative
from esrbench.worker.tracebacks import place_of, traceback_of

MODEL = """
import json

from parts.head import decode


def build(text):
    try:
        return decode(text)
    except ValueError as error:
        raise RuntimeError(f"{__file__}: no network") from error
"""
HEAD = "import json\n\n\ndef decode(text):\n    return json.loads(text)\n"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "team-net"
    (root / "parts").mkdir(parents=True)
    (root / "model.py").write_text(MODEL)
    (root / "parts" / "head.py").write_text(HEAD)
    return root


@pytest.fixture
def error(folder):
    """What the entry raises in a module of the standard library, and raises again."""
    with pytest.raises(RuntimeError) as caught:
        import_submitted(folder, "model").build("{")
    return caught.value


def test_the_place_is_the_last_line_of_the_entry(folder, error):
    assert place_of(error, [str(folder)]) == "model.py, line 11"
    assert place_of(error.__cause__, [str(folder)]) == "parts/head.py, line 5"
    assert place_of(error, [str(folder / "elsewhere")]) is None


def test_a_syntax_error_tells_its_place_itself(folder):
    (folder / "model.py").write_text("def build(:\n")
    with pytest.raises(SyntaxError) as caught:
        import_submitted(folder, "model")
    assert "model.py, line 1" in str(caught.value)
    assert place_of(caught.value, [str(folder)]) is None


def test_tracebacks_begin_in_the_entry_and_hold_no_path_of_the_machine(folder, error):
    told = traceback_of(error, [str(folder)])
    assert 'File "parts/head.py", line 5, in decode\n    return json.loads(text)' in told
    assert 'File "json/decoder.py"' in told
    assert told.strip().endswith("RuntimeError: model.py: no network")
    assert "test_tracebacks" not in told
    assert str(folder) not in told


@pytest.mark.parametrize(
    ("text", "folders", "expected"),
    [
        ("/a/b/c.py: gone", ["/a/b"], "c.py: gone"),
        ("/a/b/c.py", ["/a", "/a/b"], "c.py"),
        ("/a/bc.py", ["/a/b"], "/a/bc.py"),
        ("x/a/b/c.py", ["/a/b"], "x/a/b/c.py"),
        ("open('/a/b/w.pth')", ["/a/b/"], "open('w.pth')"),
        ("/a/b", ["/", ""], "/a/b"),
    ],
)
def test_paths_are_seen_from_the_deepest_folder(text, folders, expected):
    assert relative(text, folders) == expected
