"""The layout of ``--help``: the options of a command in groups, and two examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperCommand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDEST = 100
"""Columns of a help text on a wider terminal."""
FEW_OPTIONS = 10
"""A command with at most this many options has no groups."""
GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "What": (
        *("names", "candidate", "every", "data", "scale", "weights", "metric", "metrics", "rule"),
        *("official", "with_official", "forward_class", "relative_to", "as_of", "mixed", "recipe"),
        *("baseline", "reference", "against", "scores", "runtime", "energy"),
        *("columns", "backends", "published", "x", "y", "area", "own", "crop", "column"),
    ),
    "Where": (
        *("python", "device", "devices", "engine", "engine_option", "threads", "workers"),
        *("isolation", "backend", "baseline_backend", "compiled", "timeout", "entry_timeout"),
        "cudnn_benchmark",
    ),
    "How long": (
        *("effort", "warmup", "min_rounds", "rounds", "half_width", "budget", "processes"),
        *("max_pairs", "resume", "validate"),
    ),
    "How precise": (
        *("precision", "calibrate_with", "fp32_ends", "channels_last", "input_size", "race_size"),
        *("order_seed", "seed", "strict", "lenient"),
    ),
    "Output": (
        *("results", "folder", "results_folder", "output", "save_sr", "assets", "title", "plan"),
        *("verbose", "_quiet", "notes", "main", "table_format", "label", "caption", "bibliography"),
        *("junit", "summary", "comment", "annotations", "everything", "public", "as_json", "help"),
    ),
}
"""Groups of options, by the names of the options; others stand under "Options"."""
EXAMPLES: Final[Mapping[str, tuple[str, str]]] = {
    "run": ("esrbench run", "esrbench run rfdn imdn --data demo --effort standard"),
    "cell": (
        "esrbench cell results/passes/SUITE/PLAN.json untimed-0000",
        "esrbench cell results/passes/SUITE/PLAN.json timed-000-0000 --gpu 1",
    ),
    "status": ("esrbench status", "esrbench status challenge.toml --watch"),
    "race": ("esrbench race rfdn-e rfdn", "esrbench race imdn rfdn --input-size 64x64"),
    "runs": ("esrbench runs list", 'esrbench runs withdraw team07-fastsr --reason "asked to"'),
    "score": (
        "esrbench score team07.zip --data div2k-valid",
        "esrbench score folder --name team07 --data demo",
    ),
    "init-challenge": (
        "esrbench init-challenge esr2031",
        "esrbench init-challenge mobile --like ntire2026-mobile",
    ),
    "codabench": (
        "esrbench codabench challenge.toml",
        "esrbench codabench challenge.toml -o bundle.zip",
    ),
    "leaderboard": ("esrbench leaderboard --notes", "esrbench leaderboard --official ntire2023"),
    "report": ("esrbench report", "esrbench report -o page.html --published ntire2022"),
    "site": ("esrbench site public", 'esrbench site public --title "Our challenge"'),
    "check": (
        "esrbench check --baseline main",
        "esrbench check rfdn --baseline esrbench-baseline.json",
    ),
    "baseline": (
        "esrbench baseline update rfdn",
        "esrbench baseline update rfdn --baseline esrbench-baseline.json",
    ),
    "rules": ("esrbench rules", "esrbench rules ntire2026"),
    "compare": (
        "esrbench compare rfdn imdn --data set5,set14 --published",
        "esrbench compare rfdn imdn --format latex",
    ),
    "figure": (
        "esrbench figure pareto -o pareto.pdf --data demo",
        "esrbench figure crops rfdn imdn -o crops.pdf --data demo",
    ),
    "list": ("esrbench list models", "esrbench list data --json"),
    "show": ("esrbench show rfdn", "esrbench show rfdn --depth 2"),
    "paper-table": ("esrbench paper-table 3", "esrbench paper-table 3 --scale 4"),
    "fetch": ("esrbench fetch weights rfdn imdn", "esrbench fetch div2k-valid --scale 4"),
    "validate": ("esrbench validate rfdn", "esrbench validate team07-fastsr --fix"),
    "new": ("esrbench new team07-fastsr", "esrbench new team07-fastsr --scale 2"),
    "import": (
        "esrbench import NTIRE2031_ESR",
        "esrbench import NTIRE2031_ESR --into submissions",
    ),
    "convert-weights": (
        "esrbench convert-weights model.pth",
        "esrbench convert-weights last.ckpt --key state_dict --prefix net.",
    ),
    "export": (
        "esrbench export rfdn",
        "esrbench export rfdn --to onnxruntime -o rfdn.onnx",
    ),
    "env": (
        "esrbench env list",
        "esrbench env create torch113 --python 3.9 --requirements requirements.txt",
    ),
    "train": (
        "esrbench train rfdn --recipe quick",
        "esrbench train aidn --recipe aidn --data DIV2K=path",
    ),
    "help": ("esrbench help", "esrbench help not-steady"),
    "doctor": ("esrbench doctor", "esrbench doctor --device cuda --save doctor.json"),
}
"""Two examples of each command."""
_HYPHEN: Final = "\N{NON-BREAKING HYPHEN}"
_GROUP_OF: Final = {name: group for group, names in GROUPS.items() for name in names}


def write_unbroken(formatter: Any, rows: Sequence[tuple[str, str]]) -> None:
    """Write terms and their meanings, wrapped between words and never at hyphens."""
    begun = len(formatter.buffer)
    formatter.write_dl([(term, text.replace("-", _HYPHEN)) for term, text in rows])
    formatter.buffer[begun:] = [text.replace(_HYPHEN, "-") for text in formatter.buffer[begun:]]


class GroupedCommand(TyperCommand):
    """A command whose help groups many options and ends with its examples.

    Its text is wrapped between words at the width of the terminal, or of ``COLUMNS``.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options."""
        options = [each for each in self.get_params(ctx) if each.param_type_name == "option"]
        grouped = len(options) > FEW_OPTIONS
        rows: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            group = _GROUP_OF.get(parameter.name or "", "Options") if grouped else "Options"
            if parameter not in options:
                group = "Arguments"
            rows.setdefault(group, []).append(record)
        for group in ("Arguments", "Options", *GROUPS):
            if group in rows:
                with formatter.section(group):
                    write_unbroken(formatter, rows[group])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on one line, so that users can paste them."""
        with formatter.section("Examples"):
            for example in EXAMPLES[ctx.info_name]:
                formatter.write(f"  {example}\n")
