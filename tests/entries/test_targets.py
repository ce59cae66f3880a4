"""Submissions' modules come from their folders, whatever they and others are called."""

from __future__ import annotations

import py_compile
import subprocess
import sys
import types

import pytest

from esrbench.entries.targets import (
    import_file,
    import_submitted,
    importable_location,
    resolve_factory,
    stable_module_name,
)
from esrbench.errors import RegistrationError


def write(folder, **files):
    """Files by path, ``__`` for a slash and without ``.py``."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_module_is_named_as_another_process_finds_it(tmp_path, monkeypatch):
    assert importable_location("json") == "json"
    file = write(tmp_path, conftest="class Net: ...") / "conftest.py"
    module = types.ModuleType("net_of_a_test")
    module.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "net_of_a_test", module)
    assert importable_location("net_of_a_test") == str(file)
    # Here it is not imported a second time: that would register its networks again.
    assert import_file(file) is module
    prompt = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", prompt)
    assert importable_location("__main__") is None
    prompt.__file__ = str(file)
    assert importable_location("__main__") == str(file)


def test_siblings_are_found_absolutely_and_relatively(tmp_path):
    folder = write(
        tmp_path / "a-b",
        blocks="GAIN = 2",
        model="import blocks\nfrom .blocks import GAIN\nimport os.path, math as m\n"
        "from parts.deep import inner as found\nimport parts.deep.inner as again, parts\n"
        "VALUES = blocks.GAIN, GAIN, found.UP, again.UP, parts.deep.inner.UP, m.pi, os.path.sep\n",
        parts__deep__inner="from blocks import GAIN\nfrom ... import blocks\n"
        "UP = GAIN + blocks.GAIN\n",
    )
    module = import_submitted(folder, "model")
    assert module.VALUES[:5] == (2, 2, 4, 4, 4)
    assert import_submitted(folder, "model") is module


def test_imports_inside_functions_find_siblings_too(tmp_path):
    folder = write(
        tmp_path / "a-b", late="X = 3", model="def late():\n    import late\n    return late.X\n"
    )
    assert resolve_factory("model:late", folder=str(folder))() == 3


def test_modules_of_one_name_do_not_meet(tmp_path):
    folders = [
        write(
            tmp_path / name, model=f"import utils\nNAME = {name!r}, utils.X", utils=f"X = {index}"
        )
        for index, name in enumerate(("a-b", "c-d"))
    ]
    found = [import_submitted(folder, "model").NAME for folder in folders]
    assert found == [("a-b", 0), ("c-d", 1)]
    assert "model" not in sys.modules
    assert "utils" not in sys.modules
    assert str(tmp_path / "a-b") not in sys.path


def test_a_models_folder_of_theirs_is_not_ours(tmp_path):
    folder = write(
        tmp_path / "a-b", models__net="Y = 5", model="import models.net\nY = models.net.Y"
    )
    before = sys.modules.get("models")
    assert import_submitted(folder, "model").Y == 5
    assert sys.modules.get("models") is before


def test_a_folder_of_data_hides_no_module(tmp_path):
    folder = write(tmp_path / "a-b", model="import json\nloads = json.loads")
    (folder / "json").mkdir()
    (folder / "json" / "notes.txt").write_text("data")
    assert resolve_factory("model:loads", folder=str(folder))("1") == 1


def test_a_file_called_like_the_standard_library_stays_theirs(tmp_path):
    folder = write(tmp_path / "a-b", secrets="X = 1", model="import secrets\nX = secrets.X")
    assert import_submitted(folder, "model").X == 1
    import secrets

    assert secrets.token_hex(1)


def test_bytecode_is_neither_read_nor_written(tmp_path):
    folder = write(tmp_path / "a-b", model="X = 'source'")
    lying = write(tmp_path / "other", model="X = 'cached'")
    cached = folder / "__pycache__" / f"model.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(lying / "model.py"), str(cached), invalidation_mode=mode)
    assert import_submitted(folder, "model").X == "source"

    bare = write(tmp_path / "c-d", model="import hidden")
    py_compile.compile(str(lying / "model.py"), str(bare / "hidden.pyc"))
    with pytest.raises(ModuleNotFoundError, match="hidden"):
        import_submitted(bare, "model")
    assert not (bare / "__pycache__").exists()


@pytest.mark.parametrize("module", ["nowhere", "model.nowhere", "math"])
def test_a_module_that_is_not_in_the_folder_is_refused(tmp_path, module):
    folder = write(tmp_path / "a-b", model="X = 1")
    with pytest.raises(RegistrationError, match=f"there is no module '{module}' in this folder"):
        import_submitted(folder, module)


def test_a_missing_dependency_is_the_codes_own_error(tmp_path):
    folder = write(tmp_path / "a-b", model="import no_such_distribution")
    with pytest.raises(ModuleNotFoundError, match="no_such_distribution"):
        resolve_factory("model:Net", folder=str(folder))


def test_a_failed_import_is_tried_again(tmp_path):
    folder = write(tmp_path / "a-b", model="X = 1 / 0")
    with pytest.raises(ZeroDivisionError):
        import_submitted(folder, "model")
    write(folder, model="X = 1")
    assert import_submitted(folder, "model").X == 1


def test_names_are_stable_wherever_the_folder_lies(tmp_path):
    names = {
        stable_module_name(
            import_submitted(write(tmp_path / at / "a-b", model=""), "model").__name__
        )
        for at in ("here", "there")
    }
    assert names == {"model"}
    assert stable_module_name("esrbench_models.rfdn") == "esrbench_models.rfdn"


def test_networks_of_a_folder_are_compiled_like_others(tmp_path):
    """In a process of its own: what torch.compile leaves behind is no concern of other tests."""
    folder = write(
        tmp_path / "a-b",
        parts="from torch.nn.functional import relu",
        model="from torch import nn\nfrom parts import relu\n"
        "class Net(nn.Module):\n    def forward(self, x):\n        return relu(x) + 1\n",
    )
    script = (
        "import sys, torch\n"
        "from esrbench.entries.targets import resolve_factory\n"
        "network = torch.compile(resolve_factory('model:Net', folder=sys.argv[1])(),"
        " backend='eager', fullgraph=True)\n"
        "assert network(torch.tensor([-1.0, 2.0])).tolist() == [1.0, 3.0]\n"
    )
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


def test_a_misspelt_factory_is_told_the_nearest_name(tmp_path):
    folder = write(tmp_path, model="class OddNet: ...\n")
    with pytest.raises(RegistrationError, match="has no attribute 'Oddnet'") as caught:
        resolve_factory("model:Oddnet", folder=str(folder))
    assert (caught.value.advice or "").endswith("Did you mean OddNet?")
