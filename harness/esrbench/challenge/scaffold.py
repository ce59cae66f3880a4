"""A new challenge to start from: a file that runs as it is, on photographs of esrbench."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from esrbench.challenge.file import FILE_NAME
from esrbench.data.declarations import DATASETS
from esrbench.errors import UsageError
from esrbench.ranking.rules import RULES, get_rule

if TYPE_CHECKING:
    from pathlib import Path

    from esrbench.ranking.rule import Rule

SUBMISSIONS = "submissions"


def scaffold_challenge(folder: Path, like: str) -> Path:
    """Make a folder with ``challenge.toml`` and a place for entries.

    Args:
        folder: folder to make; an existing one may hold entries, but no challenge.
        like: name of an edition.

    Returns:
        The file that was written.

    Raises:
        UsageError: no such edition, or the folder has a challenge, or it cannot be written.
    """
    rule = RULES.get(like) or get_rule(like)
    if rule.name not in RULES:
        message = f"--like {like}: expected an edition"
        raise UsageError(message, advice=f"There are: {', '.join(RULES)}.")
    path = folder / FILE_NAME
    if path.exists():
        message = f"{path}: exists already and was not changed"
        raise UsageError(message, advice="Choose another folder, or remove the file.")
    template = resources.files(__package__).joinpath("challenge.toml.tmpl").read_text("utf-8")
    text = Template(template).substitute(
        title=folder.resolve().name,
        rule=rule.name,
        scale=rule.scales[-1],
        data="".join(_data(rule)),
        baseline=rule.baseline.entry if rule.baseline and rule.baseline.entry else "bicubic",
        gates="; ".join(gate.describe() for gate in rule.gates) or "none",
    )
    try:
        (folder / SUBMISSIONS).mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"{path}: cannot be written: {error.strerror or error}"
        raise UsageError(message, advice="Choose another folder.") from error
    return path


def _data(rule: Rule) -> list[str]:
    """The edition's own data sets, as comments for the organiser to activate."""
    tables = []
    for gate in rule.gates:
        if gate.data is None:
            continue
        lines = ["[[data]]", f'name = "{gate.data}"  # {gate.title}']
        dataset = DATASETS.get(gate.data)
        if dataset is None or not dataset.fetchable:
            lines += ['folder = "data"']
        if dataset is None or dataset.hidden:
            lines += ["hidden = true"]
        tables.append("".join(f"# {line}\n" for line in lines) + "\n")
    return tables
