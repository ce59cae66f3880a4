"""Print the help of all commands, and the errors, hints and notices that the code can give.

    python docs/collect_messages.py > messages.txt

It is made to be read from top to bottom by whoever changes messages. Values that are only known
when esrbench runs are shown by their expression: ``{name}``.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import typer

from esrbench.cli.verbs import VERBS, load

PACKAGE = Path(__file__).resolve().parent.parent / "harness" / "esrbench"
FIELDS = ("message", "finding", "reason", "advice", "help", "epilog")
"""Names under which a text is assigned or passed that a user reads."""


def spelled(node: ast.expr | None) -> str:
    """A text as it stands in the code, or nothing where it is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (
            each.value if isinstance(each, ast.FormattedValue) else each for each in node.values
        )
        return "".join(spelled(each) or f"{{{ast.unparse(each)}}}" for each in parts)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return spelled(node.left) + spelled(node.right)
    if isinstance(node, ast.IfExp):
        return f"{spelled(node.body)} / {spelled(node.orelse)}".strip("/ ")
    return ""


def texts(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Line, kind and words of each text."""
    for node in ast.walk(tree):
        found: list[tuple[str, ast.expr | None]] = []
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found = [(node.targets[0].id, node.value)]
        elif isinstance(node, ast.Call):
            named = ast.unparse(node.func).rpartition(".")[2]
            found = [(each.arg or "", each.value) for each in node.keywords]
            if named.endswith("Error") or named in {"Absent", "Notice", "judged", "Diagnosis"}:
                found += [("message", each) for each in node.args]
        for kind, value in found:
            words = spelled(value)
            if kind in FIELDS and " " in words:
                yield node.lineno, kind, words


def main() -> None:
    """Print the document."""
    for verb in VERBS:
        alone = typer.Typer(add_completion=False)
        alone.command()(load(verb))
        command = typer.main.get_command(alone)
        print(f"\n# esrbench {verb}\n\n{command.help}\n")
        for each in command.params:
            print(f"{', '.join(each.opts)}: {' '.join((each.help or '').split())}")
    for path in sorted(PACKAGE.rglob("*.py")):
        found = sorted(set(texts(ast.parse(path.read_text()))))
        if found:
            print(f"\n# {path.relative_to(PACKAGE)}\n")
        for line, kind, words in found:
            print(f"{line:>5} {kind:<8} {' '.join(words.split())}")


if __name__ == "__main__":
    sys.exit(main())
