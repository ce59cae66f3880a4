"""The log of a training: one CSV row every few iterations."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, NamedTuple

from esrbench.errors import RecordError

if TYPE_CHECKING:
    from pathlib import Path


class Row(NamedTuple):
    """One line of the log.

    Attributes:
        iteration: steps done, over all stages.
        stage: its number, from 1.
        learning_rate: of the last step.
        loss: mean over the steps since the row before.
        psnr: RGB PSNR in dB of a validation, or None.
        seconds: of training so far.
    """

    iteration: int
    stage: int
    learning_rate: float
    loss: float
    psnr: float | None
    seconds: float


class Journal:
    """A CSV file that a resumed training continues."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writing = False

    def begin(self, iteration: int, *, writing: bool) -> None:
        """Open the log, dropping rows beyond ``iteration``: they will be made again.

        Raises:
            RecordError: it cannot be written.
        """
        self.writing = writing
        if not writing:
            return
        rows: list[list[str]] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if iteration and self.path.is_file():
                with self.path.open(newline="") as file:
                    read = list(csv.reader(file))[1:]
                rows = [row for row in read if row[:1] and int(row[0]) <= iteration]
            with self.path.open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(Row._fields)
                writer.writerows(rows)
        except (OSError, ValueError) as error:
            message = f"{self.path}: cannot be continued: {error}"
            raise RecordError(message, advice="Mend or delete it.") from error

    def add(self, row: Row) -> None:
        """Append a row.

        Raises:
            RecordError: it cannot be written.
        """
        if not self.writing:
            return
        try:
            with self.path.open("a", newline="") as file:
                csv.writer(file).writerow("" if value is None else value for value in row)
        except OSError as error:
            message = f"{self.path}: cannot be written: {error}"
            raise RecordError(message, advice="Free space; then --resume.") from error
