import shlex
import sys

import pytest
import typer
from builders import run

from esrbench.cli.help_layout import EXAMPLES
from esrbench.cli.verbs import VERBS, load

# What takes the time: the records, and what they are made of.
LISTED = """
import sys
from esrbench.cli.app import main
sys.argv = ["esrbench", "--help"]
try:
    main()
finally:
    loaded = {name.split(".")[0] for name in sys.modules} | set(sys.modules)
    print("loaded:", *sorted(loaded & {"pydantic", "numpy", "torch", "esrbench.records"}))
"""


@pytest.mark.parametrize("name", VERBS)
def test_a_summary_is_the_first_line_of_its_command(name):
    assert VERBS[name] == load(name).__doc__.splitlines()[0]


def test_help_lists_every_verb_and_imports_none():
    done = run(sys.executable, "-c", LISTED)
    assert done.stdout.splitlines()[-1] == "loaded:"
    for name in VERBS:
        assert f" {name} " in done.stdout


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_s_own_help_has_its_options(in_process, name):
    done = in_process(name, "-h", code=0)
    assert f"Usage: esrbench {name} " in done.stdout
    assert "--json" in done.stdout
    examples = done.stdout.partition("Examples:\n")[2].splitlines()
    assert [each.split()[:2] for each in examples] == [["esrbench", name]] * 2


@pytest.mark.parametrize("columns", [60, 100])
def test_help_is_wrapped_between_words_also_in_pipes(in_process, columns):
    done = in_process("run", "--help", COLUMNS=str(columns), code=0)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns
    assert max(map(len, lines)) > columns - 12
    groups = ["Arguments", "What", "Where", "How long", "How precise", "Output", "Examples"]
    assert [each[:-1] for each in lines if each.endswith(":") and each[0] != " "] == groups
    assert "aot-inductor" in done.stdout
    assert "torch-compile" in done.stdout
    assert done.stdout.isascii()


def test_examples_name_options_that_there_are():
    for name, examples in EXAMPLES.items():
        alone = typer.Typer(add_completion=False)
        alone.command(name)(load(name))
        known = {option for each in typer.main.get_command(alone).params for option in each.opts}
        for example in examples:
            given = {word for word in shlex.split(example) if word.startswith("-")}
            assert given <= known, example
    assert EXAMPLES.keys() == VERBS.keys()
