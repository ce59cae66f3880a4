"""``esrbench runs``: stored runs, and an organiser's decisions about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from esrbench.cli.console import JsonOption, many_objects, messages, print_json, print_notices
from esrbench.cli.list import listed
from esrbench.cli.options import ResultsOption
from esrbench.cli.tables import FormatOption, print_table
from esrbench.errors import UsageError
from esrbench.plaintext import line, plural
from esrbench.runs.store import Store, default_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import Action, Decision


def runs_command(
    action: Annotated[
        Literal[
            "list",
            "show",
            "log",
            "withdraw",
            "disqualify",
            "restore",
            "rename",
            "export",
            "merge",
        ],
        typer.Argument(help="What to do."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help=(
                "Entries or run ids. For rename: the old and the new name. For export: the "
                "folder to write, then entries. For merge: folders of results."
            )
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(help="Reason of the decision. It is published.")
    ] = None,
    public: Annotated[
        bool,
        typer.Option(
            "--public",
            help="Leave out withdrawn runs, and names and scores of hidden images.",
        ),
    ] = False,
    table_format: FormatOption = "terminal",
    folder: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List, withdraw, disqualify, restore, rename, export or merge stored runs.

    No record is altered or deleted: decisions are a log beside them, and can be undone.
    """
    store = Store(folder or default_results())
    given = names or []
    if public and action != "export":
        raise UsageError(f"--public has no effect with {action}", advice="Leave it out.")
    if action in {"list", "show"}:
        with many_objects():
            _print_runs(store, given, table_format, whole=action == "show", as_json=as_json)
    elif action == "log":
        decisions, notices = store.load_decisions()
        print_notices(notices)
        chosen = [each for each in decisions if not given or each.subject in given]
        print_table(listed([_event(each) for each in chosen]), table_format, as_json=as_json)
    elif action in {"export", "merge"}:
        _copy(store, given, out=action == "export", public=public, as_json=as_json)
    else:
        from esrbench.runs.decisions import decide

        decided = decide(store, cast("Action", action), given, reason)
        if as_json:
            print_json([_event(each) for each in decided])
        for each in decided:
            to = f" to {each.new_name}" if each.new_name else ""
            messages().print(line(f"{each.action}: {each.subject}{to}"), markup=False)


def _print_runs(
    store: Store, names: Sequence[str], form: str, *, whole: bool, as_json: bool
) -> None:
    """Print one line for each run, oldest first, and the decisions about them below."""
    from esrbench.reports.table import Note
    from esrbench.runs.run_states import RunStates

    records, notices = store.load_measured(samples=False)
    decisions, unread = store.load_decisions()
    print_notices([*notices, *unread])
    states = RunStates.after(decisions)
    rows: list[dict[str, Any]] = []
    known: set[str] = set()
    for record in sorted(records, key=lambda each: each.created):
        state = states.of(record.entry.name, record.run_id)
        subjects = {state.name, record.entry.name, record.run_id}
        if names and subjects.isdisjoint(names):
            continue
        known |= subjects
        rows.append(
            {
                "run": record.run_id,
                "entry": state.name,
                "data": f"{record.data.name} x{record.entry.scale}",
                "class": record.class_label(),
                "status": record.status,
                "state": state.state,
                "reason": state.reason or None,
                "created": f"{record.created:%Y-%m-%d %H:%M:%S}",
            }
        )
    missing = [name for name in names if name not in known]
    if missing or (whole and not names):
        what = f"no run of {', '.join(missing)}" if missing else "runs show: which entry or run?"
        message = f"{store.folder}: {what}" if missing else what
        raise UsageError(message, advice="`esrbench runs list` lists all.")
    table = listed(rows)
    if whole:
        events = [_event(each) for each in decisions if known & {each.subject, each.new_name}]
        said = [", ".join(f"{k} {v}" for k, v in event.items() if v) for event in events]
        document = {"runs": rows, "decisions": events}
        table = replace(table, notes=tuple(Note(each) for each in said), document=document)
    print_table(table, form, as_json=as_json)


def _event(decision: Decision) -> dict[str, Any]:
    return {
        "when": f"{decision.created:%Y-%m-%d %H:%M:%S}",
        "action": decision.action,
        "subject": decision.subject,
        "new_name": decision.new_name,
        "reason": decision.reason or None,
    }


def _copy(store: Store, given: Sequence[str], *, out: bool, public: bool, as_json: bool) -> None:
    """Copy runs out into a new folder, or in from other ones."""
    from esrbench.runs.exchange import copy_runs

    if not given:
        message = f"runs {'export' if out else 'merge'}: which folder?"
        raise UsageError(message, advice="Name a folder of results.")
    if out:
        pairs = [(store, Store(Path(given[0])))]
    else:
        pairs = [(Store(Path(each)), store) for each in given]
    if lacking := [str(source.folder) for source, _ in pairs if not source.runs.is_dir()]:
        message = f"{', '.join(lacking)}: there are no run records"
        raise UsageError(message, advice="Name a folder that has runs/ in it.")
    done = []
    for source, target in pairs:
        copied = copy_runs(source, target, given[1:] if out else (), public=public)
        print_notices(copied.notices)
        records, decisions = plural(copied.records, "record"), plural(copied.decisions, "decision")
        said = f"{target.folder}: {records} and {decisions} from {source.folder}"
        messages().print(line(said), markup=False)
        done.append(
            {
                "from": str(source.folder),
                "to": str(target.folder),
                "records": copied.records,
                "decisions": copied.decisions,
            }
        )
    if as_json:
        print_json(done)
