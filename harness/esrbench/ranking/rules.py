"""All rules by name, and those that users write."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.errors import DataError, UsageError
from esrbench.ranking.custom import load_rule
from esrbench.ranking.editions.aim2020 import AIM2020
from esrbench.ranking.editions.ntire2022 import NTIRE2022
from esrbench.ranking.editions.ntire2023 import NTIRE2023
from esrbench.ranking.editions.ntire2024 import NTIRE2024
from esrbench.ranking.editions.ntire2025 import NTIRE2025
from esrbench.ranking.editions.ntire2026 import NTIRE2026
from esrbench.ranking.editions.rtsr2023 import RTSR2023

if TYPE_CHECKING:
    from esrbench.ranking.rule import Rule

EDITIONS = (NTIRE2022, NTIRE2023, NTIRE2024, NTIRE2025, NTIRE2026, AIM2020, RTSR2023)

RULES: dict[str, Rule] = {rule.name: rule for rule in EDITIONS}


def get_rule(name: str) -> Rule:
    """A rule by name, or one that a user wrote, by the path of its TOML file.

    Raises:
        UsageError: unknown name; the message names the known ones.
        DataError: the file is no rule, or has an edition's name; names every field.
    """
    if name in RULES:
        return RULES[name]
    path = Path(name)
    if path.suffix.lower() == ".toml" or path.is_file():
        rule = load_rule(path)
        if rule.name in RULES:
            problem = f"name: {rule.name} is an edition's, whose published entries are not of it"
            message = f"{path}: this is no rule"
            raise DataError(message, [problem], advice="Choose another name, such as custom.")
        return rule
    near = difflib.get_close_matches(name, RULES, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    message = f"no rule is called {name!r}"
    advice = (
        f"{hint}Known: {', '.join(RULES)}; or the path of a rule in TOML, as "
        "`esrbench rules --template` prints one."
    )
    raise UsageError(message, advice=advice) from None
