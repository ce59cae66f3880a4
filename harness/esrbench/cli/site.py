"""``esrbench site``: a folder of pages to publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.console import (
    JsonOption,
    messages,
    open_registry,
    print_json,
    print_notices,
)
from esrbench.cli.options import ResultsOption
from esrbench.errors import UsageError
from esrbench.plaintext import plural
from esrbench.runs.store import Store, default_results


def site_command(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder to write. It is created if it does not exist."
        ),
    ],
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="Edition, or a rule in TOML, by which each data set is ranked. Repeatable.",
            show_default="ntire2022",
        ),
    ] = None,
    official: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EDITION", help="Edition whose published board has a page. Repeatable."
        ),
    ] = None,
    dates: Annotated[
        int, typer.Option(min=0, help="Number of earlier dates for which each board has a page.")
    ] = 12,
    title: Annotated[str, typer.Option(help="Title of the index page.")] = "Leaderboards",
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write pages for all data sets, editions and dates, with an index, ready to publish.

    There is a page for each data set, scale, class and edition, one for each earlier date, and the
    history of each entry. Links are relative, and no page loads anything. Names and scores of
    images of hidden test sets are left out. Old files stay in the folder.
    """
    from esrbench.files import replace_file
    from esrbench.ranking.rules import get_rule
    from esrbench.reports.page import site_pages
    from esrbench.runs.publication import public_records

    store = Store(folder or default_results())
    records, notices = store.load()
    examinations, unexamined = store.load_examinations()
    print_notices([*notices, *unexamined])
    if not records and not official:
        message = f"{store.runs}: there are no records to publish"
        advice = "Run `esrbench run`, or name a folder of --results or an --official edition."
        raise UsageError(message, advice=advice)
    pages = site_pages(
        public_records(records),
        rules=[get_rule(name) for name in dict.fromkeys(rule or ["ntire2022"])],
        official=[get_rule(name) for name in dict.fromkeys(official or ())],
        earlier=dates,
        title=title,
        store=store,
        registry=open_registry(),
        examinations=examinations,
        unread=notices,
    )
    written: dict[str, int] = {}
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, page in pages:
            content = page.encode()
            replace_file(target / name, content)
            written[name] = len(content)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give a folder that you can write to.") from error
    if as_json:
        files = [{"file": name, "bytes": size} for name, size in written.items()]
        print_json({"folder": str(target), "files": files})
    else:
        size = f"{sum(written.values()) / 1e6:.2f} MB"
        messages().print(
            f"{target}: {plural(len(written), 'file')}, {size}; open index.html", markup=False
        )
