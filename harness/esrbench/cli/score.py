"""``esrbench score``: PSNR and SSIM of SR images that somebody else made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from esrbench.cli.console import JsonOption, messages, open_registry, print_notices, progress_bar
from esrbench.cli.options import MetricOption, ResultsOption, ScaleOption
from esrbench.cli.tables import FormatOption, print_table
from esrbench.runs.store import Store, default_results


def score_command(
    images: Annotated[
        Path,
        typer.Argument(help="Folder or zip file of SR images.", metavar="FOLDER|ZIP", exists=True),
    ],
    data: Annotated[
        str, typer.Option(help="Data set NAME, folder PATH of HR/LR pairs, or NAME=PATH.")
    ],
    scale: ScaleOption = 4,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the entry.", show_default="of the folder or zip file"),
    ] = None,
    metric: MetricOption = None,
    table_format: FormatOption = "terminal",
    results_folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score SR images that somebody else made, without their network, and store the record.

    Files are matched by name: NAME.png, NAMEx4.png, or with other text around it, as in
    team07_0801x4_SR.png.
    """
    from esrbench.data.datasets import open_dataset
    from esrbench.reports.details import scores_table
    from esrbench.runs.scoring import entry_name, score_sr_images

    entry = entry_name(images, name, open_registry())
    store = Store(results_folder or default_results())
    with progress_bar() as bar:
        checking = bar.add_task(f"checking {data}", total=None)
        pairs = open_dataset(
            data,
            scale,
            progress=lambda done, total: bar.update(checking, completed=done, total=total),
        )
        scoring = bar.add_task(f"scoring {entry}", total=None)
        record = score_sr_images(
            images,
            pairs,
            name=entry,
            store=store,
            metrics=metric or (),
            progress=lambda done, total: bar.update(scoring, completed=done, total=total),
        )
    path = store.put(record)
    print_table(scores_table(record), table_format, as_json=as_json)
    print_notices(record.notices)
    messages().print(f"the record is {path}", markup=False)
