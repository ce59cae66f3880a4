from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, get_type_hints

import typer
from typer.testing import CliRunner

from esrbench.cli.options import expand_options


@dataclass(frozen=True, slots=True)
class Place:
    device: Annotated[str, typer.Option("-d", "--on", help="Where.")] = "cpu"
    threads: int | None = None


@expand_options
def example_command(
    name: str, *, first: bool = False, place: Place, last: Annotated[int, typer.Option()] = 3
) -> None:
    """Print what it was given."""
    print(name, first, place, last)  # noqa: T201


def test_the_fields_of_a_record_are_options_in_its_place():
    app = typer.Typer(add_completion=False)
    app.command()(example_command)
    said = CliRunner().invoke(app, ["net", "--threads", "2", "--last", "4"])
    assert said.output == f"net False {Place(threads=2)} 4\n"
    said = CliRunner().invoke(app, ["net", "--on", "cuda", "--first"])
    assert said.output == f"net True {Place('cuda')} 3\n"
    command = typer.main.get_command(app)
    assert [each.name for each in command.params] == ["name", "first", "device", "threads", "last"]


def test_the_types_of_all_options_are_known():
    hints = get_type_hints(example_command)
    assert list(hints) == ["name", "first", "device", "threads", "last", "return"]
    assert hints["threads"] == int | None
    assert example_command.__doc__ == "Print what it was given."
