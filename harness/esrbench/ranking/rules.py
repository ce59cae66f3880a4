"""Rules in TOML: one file for each edition in ``editions/``, and files that users write."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from esrbench.errors import DataError, UsageError, did_you_mean, field_problems
from esrbench.ranking.rule import Rule

FOLDER: Final = Path(__file__).parent
TEMPLATE: Final = (FOLDER / "template.toml").read_text(encoding="utf-8")
ADVICE: Final = "`esrbench rules --template` prints a rule to start from."


def load_rule(path: Path) -> Rule:
    """Read a rule from a TOML file.

    Raises:
        DataError: no such file, not TOML, or wrong fields; the error lists all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: the rule cannot be read"
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(message, [reason], advice=ADVICE) from error
    return parse_rule(text, str(path))


def parse_rule(text: str, named: str) -> Rule:
    """A rule from the text of a TOML file.

    Args:
        text: text of the file.
        named: name of the file for errors.

    Raises:
        DataError: not TOML, or wrong fields; the error lists all of them.
    """
    try:
        # Read through JSON, because strict validation of Python objects rejects lists for tuples.
        document = json.dumps(tomllib.loads(text), default=str)
        return Rule.model_validate_json(document, strict=True)
    except tomllib.TOMLDecodeError as error:
        message = f"{named}: not valid TOML"
        raise DataError(message, [str(error)], advice=ADVICE) from error
    except ValidationError as error:
        problems = field_problems(error, "the whole rule")
        message = f"{named}: this is not a valid rule"
        raise DataError(message, problems, advice=ADVICE) from error


def get_rule(name: str) -> Rule:
    """A rule by the name of an edition, or by the path of a user's TOML file.

    Raises:
        UsageError: unknown name; the message names the known ones.
        DataError: the file is not a valid rule, or has an edition's name; names every field.
    """
    if name in RULES:
        return RULES[name]
    path = Path(name)
    if path.suffix.lower() == ".toml" or path.is_file():
        rule = load_rule(path)
        if rule.name in RULES:
            problem = f"name: {rule.name} is an edition with published entries"
            message = f"{path}: this is not a valid rule"
            raise DataError(message, [problem], advice="Choose another name, such as custom.")
        return rule
    message = f"no rule is called {name!r}"
    hint = did_you_mean(name, RULES, 1)
    advice = (
        f"{hint}Known: {', '.join(RULES)}; or the path of a rule in TOML, as "
        "`esrbench rules --template` prints one."
    )
    raise UsageError(message, advice=advice)


def _ntire_first(rule: Rule) -> tuple[bool, str]:
    return not rule.name.startswith("ntire"), rule.name


RULES: Final[dict[str, Rule]] = {
    rule.name: rule
    for rule in sorted(map(load_rule, (FOLDER / "editions").glob("*.toml")), key=_ntire_first)
}
"""Rules of the editions by name."""
