"""The command-line application: every verb, and how errors leave it."""

from __future__ import annotations

import sys

import typer

from harness.cli import fetch, leaderboard, listing, paper_table, run, show, validate
from harness.cli.console import report_error
from harness.errors import EsrbenchError

app = typer.Typer(
    name="esrbench",
    help="Measure how efficient a super-resolution network is, by the rules of the challenge.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 fine, 2 wrong usage or data, 4 a measurement failed, 130 interrupted. "
        "Every command takes --json: one document on stdout, messages on stderr."
    ),
)
app.command("run")(run.run_command)
app.command("leaderboard")(leaderboard.leaderboard_command)
app.command("list")(listing.list_command)
app.command("show")(show.show_command)
app.command("paper-table")(paper_table.paper_table_command)
app.command("fetch")(fetch.fetch_command)
app.command("validate")(validate.validate_command)


def main() -> None:
    """Entry point of ``esrbench``."""
    try:
        app(prog_name="esrbench")
    except EsrbenchError as error:
        report_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
