from __future__ import annotations

import pytest

from esrbench.gate.revision import code_digest

FILES = {
    "nets/__init__.py": "",
    "nets/mine.py": "'Mine.'\nimport torch\nfrom nets.parts import SLOPE\nfrom . import other\n",
    "nets/parts.py": "SLOPE = 0.05\n",
    "nets/other.py": "def f():\n    from nets.late import X\n    return X\n",
    "nets/late.py": "X = 1\n",
    "nets/unrelated.py": "Y = 1\n",
}


def digest(folder, changes=None):
    for name, text in {**FILES, **(changes or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def find(module):
        stem = folder.joinpath(*module.split("."))
        paths = (stem / "__init__.py", stem.with_suffix(".py"))
        return next((path for path in paths if path.is_file()), None)

    return code_digest(["nets.mine"], find, ["nets"])


@pytest.mark.parametrize(
    "changes",
    [
        {"nets/mine.py": FILES["nets/mine.py"].replace("Mine.", "Yours.")},
        {"nets/parts.py": "# a comment\nSLOPE =  0.05\n"},
        {"nets/unrelated.py": "Y = 2\n"},
    ],
)
def test_words_and_strangers_do_not_count(tmp_path, changes):
    assert digest(tmp_path) is not None
    assert digest(tmp_path, changes) == digest(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"nets/parts.py": "SLOPE = 0.06\n"},
        {"nets/late.py": "X = 2\n"},
        {"nets/__init__.py": "import os\n"},
        {"nets/other.py": "def f():\n    'doc'\n    return 1\n"},
    ],
)
def test_whatever_is_imported_counts(tmp_path, changes):
    before = digest(tmp_path)

    assert digest(tmp_path, changes) not in {before, None}


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nX = importlib.import_module('nets.' + 'late')\n",
        "X = open('slope.txt').read()\n",
        "exec('X = 1')\n",
        "from nets.gone import X\n",
        "def no_python(:\n",
        "X = '\0'\n",
    ],
)
def test_what_cannot_be_followed_is_not_called_the_same(tmp_path, text):
    assert digest(tmp_path, {"nets/parts.py": text}) is None


def test_eval_mode_is_no_dynamic_code(tmp_path):
    text = "SLOPE = 1\ndef f(network):\n    return network.eval()\n"

    assert digest(tmp_path, {"nets/parts.py": text}) is not None
