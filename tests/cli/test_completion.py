"""Names that a shell completes, asked as bash asks."""

import json
import sys

import pytest
from builders import run

ASKED = """
import contextlib, io, json, os, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "cv2", "pandas", "skimage"}:
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Refuse())
from esrbench.cli.app import main
answers = []
for line in sys.argv[1:]:
    words = f"esrbench {line}"
    os.environ |= {
        "_ESRBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - (not line.endswith(" "))),
    }
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main()
    answers.append(said.getvalue().split())
print(json.dumps(answers))
"""
LINES = {
    "lead": ["leaderboard"],
    "run rfdn-": ["rfdn-paper", "rfdn-5", "rfdn-e"],
    "run rfdn --data urb": ["urban100"],
    "leaderboard --rule ntire2022": ["ntire2022"],
    "run --eff": ["--effort"],
    "run --effort off": ["official"],
    "show 2031": ["20310101T000000-net"],
    "runs withdraw 2031": ["20310101T000000-net"],
    "fetch set": ["set5", "set14"],
    "run no-such-": [],
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completing")
    (folder / "results" / "runs").mkdir(parents=True)
    (folder / "results" / "runs" / "20310101T000000-net.json").write_text("{}")
    done = run(sys.executable, "-c", ASKED, *LINES, folder=folder)
    return dict(zip(LINES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", LINES)
def test_a_shell_completes_names_and_imports_nothing_heavy(answers, line):
    assert answers[line] == LINES[line]
