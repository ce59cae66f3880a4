"""Rules that users write in TOML."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from pydantic import ValidationError

from esrbench.errors import DataError
from esrbench.ranking.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ADVICE = "`esrbench rules --template` prints a rule to start from."

TEMPLATE = """\
# A rule for `esrbench leaderboard --rule THIS.toml`. Units are base units: seconds, bytes,
# counts, dB. Metric keys are those of `esrbench list metrics`.
name = "custom"
title = "Our challenge"
source = "written by us"
ties = "Equal totals share the smallest rank."
scales = [4]
columns = ["psnr_rgb", "runtime_images", "params", "macs_fvcore"]
# precision = "fp16"        # where forwards must run in one precision
# counted_input = [256, 256] # LR height and width of complexity
# footnotes = ["What a reader must know."]

# Entries below a gate are shown and not ranked. It holds on its data set only.
[[gates]]
data = "div2k-valid"
title = "DIV2K validation"
minimum = 29.0
decimals = 2                # rounded half up before comparing; `beats = "bicubic"` in place of
                            # a minimum asks for more than interpolation reaches

# The published counts that scores are relative to. Runtime and memory are those of `entry`
# measured beside the others.
[baseline]
title = "RLFN"
entry = "rlfn"
values = { runtime_images = 0.01354, params = 317e3, macs_fvcore = 19.67e9 }

# The first track orders the table. Formulas: "exponential" (weights, factor),
# "rank-sum" (metrics), "real-time" (quality, runtime, coefficient).
[[tracks]]
key = "main"
label = "Main"
title = "Main (score)"

[tracks.formula]
kind = "exponential"
factor = 2.0
weights = { runtime_images = 0.7, macs_fvcore = 0.15, params = 0.15 }

[[tracks]]
key = "size"
label = "Size"
title = "Model size"
ties_by = "main"            # equal totals keep this earlier track's order
formula = { kind = "rank-sum", metrics = ["params", "macs_fvcore"] }
"""


def load_rule(path: Path) -> Rule:
    """Read a rule from a TOML file.

    Raises:
        DataError: no such file, no TOML, or fields that make no rule; lists all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: the rule cannot be read"
        raise DataError(message, [str(error)], advice=ADVICE) from error
    return parse_rule(text, str(path))


def parse_rule(text: str, named: str) -> Rule:
    """A rule from the text of a TOML file.

    Args:
        text: of the file.
        named: its name in errors.

    Raises:
        DataError: no TOML, or fields that make no rule; lists all of them.
    """
    try:
        # By way of JSON, as strict reading of Python objects would refuse lists for tuples.
        document = json.dumps(tomllib.loads(text), default=str)
        return Rule.model_validate_json(document, strict=True)
    except tomllib.TOMLDecodeError as error:
        message = f"{named}: no TOML"
        raise DataError(message, [str(error)], advice=ADVICE) from error
    except ValidationError as error:
        problems = [
            f"{_place(problem['loc'])}: {_said(problem['msg'])}"
            for problem in error.errors(include_url=False)
        ]
        message = f"{named}: this is no rule"
        raise DataError(message, problems, advice=ADVICE) from error


def _place(location: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in location) or "the whole rule"


def _said(message: str) -> str:
    plain = message.removeprefix("Value error, ")
    return "no such field" if plain == "Extra inputs are not permitted" else plain
