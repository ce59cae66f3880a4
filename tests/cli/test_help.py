"""``esrbench help``."""

import json

from typer.testing import CliRunner

from esrbench.cli.app import app


def said(*arguments):
    done = CliRunner().invoke(app, ["help", *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_it_lists_pages():
    assert {"topic": "measuring", "title": "Measuring"} in json.loads(said("--json"))
    assert "| submitting" in said("--format", "markdown")


def test_it_shows_a_topic():
    assert "raise --warmup" in said("not-steady")
    assert json.loads(said("not-steady", "--json")) == {
        "topic": "not-steady",
        "markdown": said_markdown,
    }


said_markdown = (
    "## Notice: not-steady\n\n**When:** rounds became faster (Mann-Kendall, 1 %, as for `drift`), "
    "and this moved the runtime by 5 % between halves: the warm-up was too short.\n\n"
    "**To do:** raise `--warmup`.\n"
)
