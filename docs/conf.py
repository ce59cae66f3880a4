"""The site: ``sphinx-build -W docs site`` makes it of the pages of this folder."""

from typing import Any

import typer

from esrbench import __version__
from esrbench.cli.verbs import VERBS, load
from esrbench.manual.reference import PARTS, filled_in

project = "esrbench"
author = "the authors of esrbench"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["site"]
highlight_language = "none"  # of indented blocks, which are of all kinds

myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]
autodoc_typehints = "none"  # signatures have them
autodoc_default_options = {"exclude-members": "model_config"}  # of pydantic
smartquotes = False  # they make a dash of the two of an option

html_theme = "furo"
html_title = "esrbench"
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
copybutton_prompt_text = "$ "


def command(name: str) -> str:
    """The section of a command: what it does and every option."""
    alone = typer.Typer(add_completion=False)
    alone.command(name)(load(name))
    found = typer.main.get_command(alone)
    rows = "".join(
        f"| `{option(each)}` | {(each.help or '').replace('|', chr(92) + '|')} |\n"
        for each in found.params
        if each.name != "help"
    )
    return f"## esrbench {name}\n\n{found.help}\n\n| option | meaning |\n|---|---|\n{rows}"


def option(parameter: Any) -> str:
    """How an option or an argument is written."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def commands() -> str:
    """A section for each command."""
    return "\n".join(map(command, VERBS))


def fill_in(_app: Any, _page: str, source: list[str]) -> None:
    """Put what is made from code into a page."""
    source[0] = filled_in(source[0], {**PARTS, "commands": commands})


def setup(app: Any) -> None:
    """Have Sphinx call us for each page that it reads."""
    app.connect("source-read", fill_in)
