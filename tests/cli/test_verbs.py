import sys

import pytest
from builders import run

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
