"""The command-line application: every verb, and how errors are reported."""

from __future__ import annotations

import codecs
import io
import json
import os
import signal
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from esrbench.cli.console import report_error
from esrbench.cli.defaults import origin_of
from esrbench.cli.verbs import HELP_OPTIONS, VERBS, Verbs, register_verbs
from esrbench.errors import EXIT_BUG, EXIT_INTERRUPTED, EsrbenchError, InterruptionError, UsageError
from esrbench.plaintext import in_ascii, line
from esrbench.version import __version__

if TYPE_CHECKING:
    from types import FrameType

TRACEBACK_CHARACTERS = 500
"""Largest length of a line of a traceback."""

app = typer.Typer(
    name="esrbench",
    cls=Verbs,
    help="Measure how efficient a super-resolution network is, by the rules of the challenge.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=HELP_OPTIONS,
    epilog=(
        "Exit codes: 0 fine, 1 a regression, 2 wrong usage or data, 3 inconclusive, 4 a "
        "measurement failed, 70 a bug, 129, 130 and 143 interrupted. "
        "Every command takes --json: one document on stdout, messages on stderr."
    ),
)
register_verbs(app)


def _print_version(asked: bool) -> None:
    if asked:
        print(__version__)  # noqa: T201
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _options(
    ctx: typer.Context,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())  # noqa: T201


def main() -> NoReturn:
    """Entry point of ``esrbench``."""
    as_json = "--json" in sys.argv
    if isinstance(sys.stdout, io.TextIOWrapper):
        # If a stream cannot show a character, print a replacement instead of a traceback.
        codecs.register_error("esrbench", partial(_stand_in, as_json=as_json))
        sys.stdout.reconfigure(errors="esrbench")
    for number in (signal.SIGTERM, signal.SIGHUP):
        # nohup ignores the hang-up signal, and we leave it so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)  # a shell's background jobs ignore it
    try:
        code = app(prog_name="esrbench", standalone_mode=False)
    except EsrbenchError as error:
        report_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except TyperException as error:
        verb = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        advice = f"See `esrbench {verb} --help`." if verb in VERBS else "See `esrbench --help`."
        said = f"{origin_of(error)}{error.format_message()}"
        report_error(UsageError(said, advice=advice), as_json=as_json)
        sys.exit(UsageError.exit_code)
    except Exception:  # noqa: BLE001 - Python would exit with 1, which means a regression
        _print_traceback()
        sys.exit(EXIT_BUG)
    if code == EXIT_INTERRUPTED:
        report_error(InterruptionError("interrupted"), as_json=as_json)
    sys.exit(code or 0)


def _stand_in(error: UnicodeError, *, as_json: bool) -> tuple[str, int]:
    """ASCII for text that a stream cannot show; in JSON, only strings have such text: escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return json.dumps(text)[1:-1] if as_json else in_ascii(text), error.end


def _print_traceback() -> None:
    """Print an error of ours, line by line, because its message may hold a stranger's text."""
    for each in traceback.format_exc().splitlines():
        indent = " " * (len(each) - len(each.lstrip(" ")))
        print(indent + line(each, TRACEBACK_CHARACTERS), file=sys.stderr)  # noqa: T201


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does: workers are ended, and what was measured is put into records."""
    signal.signal(number, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """End on a second Ctrl-C; workers end with this process, and passes are stored already."""
    shown = b"\x1b[?25h" if sys.stderr.isatty() else b""  # the cursor, which a bar hides
    os.write(2, shown + b"interrupted twice: ended at once\n")
    os._exit(EXIT_INTERRUPTED)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """End as Ctrl-C does, so that workers end too."""
    sys.exit(128 + number)
