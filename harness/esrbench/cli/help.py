"""``esrbench help``: a page of the manual, or what a notice, a status or a metric means."""

from __future__ import annotations

from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, print_json, results
from esrbench.cli.tables import FormatOption, print_table

WIDEST = 100
"""Largest number of characters in a line of prose."""


def help_command(
    topic: Annotated[
        str | None,
        typer.Argument(help="Page, notice, status, metric, term or command.", show_default="list"),
    ] = None,
    table_format: FormatOption = "terminal",
    as_json: JsonOption = False,
) -> None:
    """Show a page of the manual, or explain a notice, status, metric, term or command."""
    from rich.markdown import Markdown

    from esrbench.cli.list import listed
    from esrbench.cli.verbs import VERBS
    from esrbench.manual.topics import find, pages, title

    if topic is None:
        found = [{"topic": name, "title": title(page)} for name, page in pages().items()]
        print_table(listed(found), table_format, as_json=as_json)
        return
    text = find(topic, VERBS)
    if as_json:
        print_json({"topic": topic, "markdown": text})
        return
    console = results()
    console.print(Markdown(text, hyperlinks=False), width=min(console.width, WIDEST))
