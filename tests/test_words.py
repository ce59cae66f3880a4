"""Words of docs/contributing.md that another word replaces, looked for in all text."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "contributing.md"
FOLDERS = (
    ".github",
    "benchmarks",
    "changes",
    "docs",
    "harness",
    "models",
    "results",
    "submissions",
    "tests",
)
TEXT = {".html", ".ipynb", ".j2", ".js", ".md", ".py", ".toml", ".yml"}
LONGEST = 400_000  # bytes; longer files hold figures


def banned():
    """Words to replace, by the word to write, as the guide's table has them."""
    table = GUIDE.read_text().partition("\n## Words\n")[2]
    rows = re.findall(r"^\| (?!write \|)([a-z].*?) \| (.+?) \|$", table, re.MULTILINE)
    return {word: better for better, words in rows for word in words.split(", ")}


def files():
    """Files with text, without the guide itself and this test."""
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix in TEXT:
            yield path
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.*"):
            own = path in {GUIDE, Path(__file__)}
            if path.suffix in TEXT and not own and path.stat().st_size < LONGEST:
                yield path


def find(text, words):
    """Lines and banned words in a text; code such as ``x.anew()`` or ``"anew"`` is no word."""
    found = []
    lowered = text.lower()
    for word in words:
        if word in lowered:
            ends = r"\b" if word[-1].isalpha() else ""
            pattern = rf"(?<![\w.`\"'-])(?:{re.escape(word)}){ends}(?![\w(`-]|[\"'][,\])])"
            starts = (match.start() for match in re.finditer(pattern, lowered))
            found += [(text.count("\n", 0, start) + 1, word) for start in starts]
    return found


def test_banned_words_are_found_in_prose_and_not_in_code():
    words = banned()
    assert words["wall"] == "sandbox"
    assert words["i.e."] == "for example, that is"
    assert find("a\nthe Wall is", words) == [(2, "wall")]
    assert find("the time, i.e. seconds", words) == [(1, "i.e.")]
    assert find("wall-clock firmly x.anew() `anew` role == 'wall' wall_seconds", words) == []


def test_text_has_no_word_that_another_replaces():
    words = banned()
    found = [
        f"{path.relative_to(ROOT)}:{number}: {word!r}: write {words[word]}"
        for path in files()
        for number, word in find(path.read_text(errors="replace"), words)
    ]
    assert not found, "\n".join(found)


def test_the_name_of_a_class_means_one_thing():
    # Networks name their blocks as their papers do.
    named = {}
    for path in (ROOT / "harness").rglob("*.py"):
        for name in re.findall(r"^class ([A-Z]\w*)", path.read_text(), re.MULTILINE):
            named.setdefault(name, []).append(path.name)
    assert {name: paths for name, paths in named.items() if len(paths) > 1} == {}
