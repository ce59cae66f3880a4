"""``esrbench report``: a page to publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.boards import BoardOptions, chosen_board
from esrbench.cli.console import (
    JsonOption,
    many_objects,
    messages,
    open_registry,
    print_json,
    print_notices,
)
from esrbench.cli.options import ResultsOption, expand_options
from esrbench.errors import UsageError
from esrbench.plaintext import plural
from esrbench.runs.publication import public_records
from esrbench.runs.store import Store, default_results


@expand_options
def report_command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write.", dir_okay=False)
    ] = Path("report.html"),
    assets: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `esrbench run --save-sr`; whole SR images go beside the page.",
            file_okay=False,
        ),
    ] = None,
    published: Annotated[
        list[str] | None,
        typer.Option(metavar="EDITION", help="Show an edition's board below. Repeatable."),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the page.", show_default="of the leaderboard")
    ] = None,
    *,
    options: BoardOptions,
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML file to publish: leaderboard, charts, images, times, machine.

    It needs no server and loads no other file.
    """
    from esrbench.files import replace_file
    from esrbench.ranking.published import official_leaderboard
    from esrbench.ranking.rules import get_rule
    from esrbench.reports.page import copy_images, own_records, report_page
    from esrbench.reports.page.contents import MOST_DETAILED, claims_of

    with many_objects():
        board, records, unread = chosen_board(options, folder=folder, resample=True)
        store = Store(folder or default_results())
        first = list(own_records(board, records).values())[:MOST_DETAILED]
        detailed = {each.run_id for each in first}
        records = public_records(
            [store.with_samples(each) if each.run_id in detailed else each for each in records]
        )
        examinations, notices = store.load_examinations()
        print_notices(notices)
        beside = output.with_name(f"{output.stem}_files")
        own = list(own_records(board, records).values())
        page = report_page(
            board,
            records,
            store=store,
            claims=claims_of(open_registry(), board, records),
            title=title,
            published=[official_leaderboard(get_rule(name)) for name in published or ()],
            examinations=examinations,
            unread=unread,
            images=copy_images(own, assets, beside) if assets else ((), ()),
        )
    content = page.encode()
    try:
        replace_file(output, content)
    except OSError as error:
        message = f"{output}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Give -o a file in a folder that is there.") from error
    entries = len(board.ranked) + len(board.unranked)
    if as_json:
        print_json({"file": str(output), "bytes": len(content), "entries": entries})
    else:
        size = f"{len(content) / 1e6:.2f} MB"
        messages().print(f"{output}: {plural(entries, 'entry')}, {size}", markup=False)
