"""What ``esrbench help`` finds."""

import pytest

from esrbench.errors import UsageError
from esrbench.manual.topics import find, folder, pages, read_page, title


def test_pages_have_names_of_their_own_and_titles():
    names = [page.stem for page in folder().rglob("*.md") if page.parent.name != "decisions"]
    assert sorted(names) == sorted([*pages(), "index"])
    assert all(title(page) for page in pages().values())


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("measuring", "# Measuring"),
        ("notices", "## not-steady"),
        ("not-steady", "raise `--warmup`"),
        ("suspect-caching", "outputs kept between calls"),
        ("runtime_images", "Heading of its column: Runtime [ms]."),
        ("Runtime", "Heading of its column: Runtime [ms]."),
        ("null network", "A worker whose network does nothing useful."),
        ("run", "`esrbench run --help` lists its options."),
    ],
)
def test_a_topic_is_a_page_or_what_a_word_means(topic, said):
    assert said in find(topic, {"run": "Measure."})


def test_a_word_of_two_meanings_has_both():
    found = find("counted-otherwise", {})
    assert found.index("## Status: counted-otherwise") < found.index("## Notice: counted-otherwise")


def test_an_unknown_topic_names_the_nearest():
    with pytest.raises(UsageError, match="no topic 'not-stedy'") as caught:
        find("not-stedy", {})
    assert caught.value.advice.startswith("Did you mean not-steady")


def test_a_page_in_a_terminal_has_no_marks_of_the_site(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```{toctree}\na\n```\n<!-- a\ncomment -->\n[Why](../x/rules.md#ties).\n\n"
        "Word\n: What it\n  means.\n"
    )
    assert read_page(page) == (
        "# Page\n\nWhy (`esrbench help rules`).\n\n**Word**: What it\n  means.\n"
    )
