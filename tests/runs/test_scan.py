import pytest

from esrbench.entries.sources import folder_files
from esrbench.runs.scan import MAX_REMARKS, MAX_SOURCE_BYTES, scan_folder


def scan(folder, code, name="model.py"):
    path = folder / name
    path.write_bytes(code.encode() if isinstance(code, str) else code)
    return scan_folder(folder, list(folder_files(folder)))


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("import ctypes", "imports ctypes"),
        ("import gc as garbage", "imports gc"),
        ("import os\nos.fork()", "uses os.fork"),
        ("import sys\nsys._getframe(1)", "uses sys._getframe"),
        ("from sys import _getframe as f", "imports sys._getframe"),
        ("import sys as s\ns.modules['time'] = 1", "uses sys.modules"),
        ("import torch\ns = torch.cuda.Stream()", "uses torch.cuda.Stream"),
        ("from torch import cuda as c\nwith c.stream(1): pass", "uses torch.cuda.stream"),
        ("import torch.utils._python_dispatch", "imports torch.utils._python_dispatch"),
        ("from torch.utils import _python_dispatch", "imports torch.utils._python_dispatch"),
        ("from torch.utils._python_dispatch import x", "imports torch.utils._python_dispatch"),
        ("import threading", "imports threading"),
        ("from concurrent.futures import ThreadPoolExecutor", "imports concurrent"),
        ("import subprocess, socket", "imports socket"),
        ("import torch\ntorch.load('w.pth')", "uses torch.load"),
        ("import torch\ntorch.ops.mine.conv(1)", "uses torch.ops"),
        ("import torch\n@torch.library.custom_op\ndef f(): ...", "uses torch.library"),
        ("import time\ntime.perf_counter = lambda: 0", "replaces time.perf_counter"),
        ("import time\na, time.sleep = 1, 2", "replaces time.sleep"),
        ("import time\nsetattr(time, 'time', 1)", "changes attributes of time"),
        (
            "import torch\ntorch.cuda.Event.elapsed_time = 1",
            "replaces torch.cuda.Event.elapsed_time",
        ),
        (
            "import torch\ntorch.backends.cudnn.benchmark = True",
            "replaces torch.backends.cudnn.benchmark",
        ),
        ("import torch\ntorch.backends.x += 1", "replaces torch.backends.x"),
        ("eval('1')", "uses eval"),
        ("open('cache')", "uses open"),
        ("def forward(self):\n    import gc", "imports gc"),
        ("class T:\n    def __torch_function__(self): ...", "defines __torch_function__"),
        ("import torch\nt = torch.Tensor._make_subclass", "uses torch.Tensor._make_subclass"),
        ("from functools import lru_cache", "imports functools.lru_cache"),
        ("class N:\n    def __init__(self):\n        self(1)", "runs itself in __init__"),
        ("class N:\n    def __init__(self):\n        self.forward(1)", "runs itself in __init__"),
        ("not Python at all", "cannot be read as Python: "),
        (b"\0", "cannot be read as Python: "),
        ("(" * 10_000, "cannot be read as Python: "),
        ("-" * 50_000 + "1", ""),
        (b"#" * (MAX_SOURCE_BYTES + 1), f"more than {MAX_SOURCE_BYTES:,} bytes of Python"),
    ],
)
def test_what_a_reviewer_should_see_is_found(tmp_path, code, what):
    found = scan(tmp_path, code)
    assert any(what in remark.what for remark in found), found
    assert all(remark.why and remark.place.startswith("model.py") for remark in found)


@pytest.mark.parametrize(
    "code",
    [
        "import torch\nfrom torch import nn\nimport math, functools, os.path\n",
        "from .ctypes import thing",
        "class N:\n    def forward(self):\n        self.time = 1\n        return self.gc.collect()",
        "def f(time):\n    time.perf_counter = 1",
        "class N:\n    def __init__(self):\n        self.x = 1\n    def f(self): return self(1)",
        "# import ctypes\ntext = 'import gc'",
    ],
)
def test_ordinary_code_is_not_pointed_at(tmp_path, code):
    assert scan(tmp_path, code) == ()


@pytest.mark.parametrize(
    "code",
    [
        "if __name__ == '__main__':\n    import gc",
        "if '__main__' == __name__:\n    import gc\nelse:\n    import math",
        "def f(): ...\nif __name__ == '__main__':\n    open('x')",
    ],
)
def test_what_runs_only_as_a_script_is_not_pointed_at(tmp_path, code):
    assert scan(tmp_path, code) == ()


@pytest.mark.parametrize(
    "code",
    [
        "if __name__ == '__main__':\n    pass\nelse:\n    import gc",
        "if __name__ != '__main__':\n    import gc",
        "if __name__ == '__main__' or True:\n    import gc",
        "__name__ = '__main__'\nif __name__ == '__main__':\n    import gc",
        "from names import __main__ as __name__\nif __name__ == '__main__':\n    import gc",
        "globals()['__name__'] = '__main__'\nif __name__ == '__main__':\n    import gc",
        "def f(__name__):\n    if __name__ == '__main__':\n        import gc",
    ],
)
def test_what_looks_like_a_script_alone_is_pointed_at(tmp_path, code):
    assert "imports gc" in {remark.what for remark in scan(tmp_path, code)}


def reached(folder, target="model:Net", **modules):
    """Modules of a folder that are pointed at, each of which imports gc at its end."""
    for name, code in modules.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code + "\nimport gc\n")
    remarks = scan_folder(folder, list(folder_files(folder)), [target])
    return {each.place.partition(".py")[0] for each in remarks if each.what == "imports gc"}


IMPORTS = {
    "alone": ({"model": "", "train": ""}, {"model"}),
    "one": ({"model": "import blocks", "blocks": "", "train": ""}, {"model", "blocks"}),
    "one by another": (
        {"model": "from blocks import Block", "blocks": "import ops", "ops": "", "train": ""},
        {"model", "blocks", "ops"},
    ),
    "in a function": ({"model": "def f():\n    import ops", "ops": ""}, {"model", "ops"}),
    "of a package": (
        {"model": "from net.parts import a", "net__parts__a": "", "net__parts__b": ""},
        {"model", "net/parts/a"},
    ),
    "relative": (
        {"model": "import net.main", "net__main": "from . import a\nfrom .b import c"}
        | {"net__a": "", "net__b": "", "net__c": "", "a_test": ""},
        {"model", "net/main", "net/a", "net/b"},
    ),
    "of a path that is added": (
        {"model": "import sys\nsys.path.append('src')\nimport ops", "src__ops": "", "demo": ""},
        {"model", "src/ops"},
    ),
    "by one that is run only": (
        {"model": "if __name__ == '__main__':\n    import train", "train": ""},
        {"model"},
    ),
    "by importlib": (
        {"model": "import importlib\nimportlib.import_module('op' + 's')", "ops": ""},
        {"model", "ops"},
    ),
    "by a string": ({"model": "exec('import ops')", "ops": ""}, {"model", "ops"}),
    "by a pickle": ({"model": "import torch\ntorch.load('x')", "ops": ""}, {"model", "ops"}),
    "by one that cannot be read": (
        {"model": "import blocks", "blocks": "this is no Python", "ops": ""},
        {"model", "ops"},
    ),
}


@pytest.mark.parametrize(("modules", "found"), IMPORTS.values(), ids=IMPORTS)
def test_modules_that_nothing_imports_are_not_pointed_at(tmp_path, modules, found):
    assert reached(tmp_path, **modules) == found


def test_without_the_targets_file_all_modules_are_looked_at(tmp_path):
    assert reached(tmp_path, "net.model:Net", model="", train="") == {"model", "train"}
    assert reached(tmp_path, "train.py:Net", model="", train="") == {"train"}


def test_places_name_file_and_first_line(tmp_path):
    (tmp_path / "deep").mkdir()
    (remark,) = scan(tmp_path, "x = 1\nimport gc\ngc.collect()\nimport gc\n", "deep/net.py")[:1]
    assert remark.place == "deep/net.py:2"
    assert scan(tmp_path, "", "deep/net.py") == ()


def test_compiled_code_and_links_out_are_pointed_at(tmp_path):
    folder = tmp_path / "a-b"
    folder.mkdir()
    (folder / "kernel.cu").write_text("")
    (folder / "inside.py").symlink_to("kernel.cu")
    (folder / "outside.py").symlink_to(tmp_path / "x.py")
    found = {remark.place: remark.what for remark in scan_folder(folder, [*folder_files(folder)])}
    assert found == {"kernel.cu": "compiled code", "outside.py": f"links to {tmp_path / 'x.py'}"}


def test_a_files_name_cannot_steer_a_terminal(tmp_path):
    found = [*scan(tmp_path, "import gc", "\x1b[2J.py"), *scan(tmp_path, "\x1b", "net.py")]
    assert found
    assert all((remark.place + remark.what).isprintable() for remark in found)


def test_remarks_are_not_without_end(tmp_path):
    code = "import time\n" + "".join(f"time.x{index} = 1\n" for index in range(500))
    assert len(scan(tmp_path, code)) == MAX_REMARKS


def test_the_built_in_networks_are_ordinary():
    from pathlib import Path

    import esrbench_models

    folder = Path(esrbench_models.__file__).parent
    code = [path for path in folder_files(folder) if path.suffix == ".py"]
    files = [path for path in code if path.parent != folder or path.stem == "blocks"]
    assert len(files) > 20
    assert {remark.what for remark in scan_folder(folder, files)} == set()


def test_a_folder_of_much_python_is_looked_through_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("esrbench.runs.scan.MAX_SOURCES_BYTES", 1000)
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text("import ctypes\n" + "#" * 400)
    found = scan_folder(tmp_path, [*folder_files(tmp_path)])
    assert [remark.place for remark in found] == ["a.py:1", "b.py:1", "c.py"]
    assert "more than 1,000 bytes of Python in all" in found[-1].what
