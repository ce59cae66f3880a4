import importlib
import sys

import pytest
from builders import git, write_files

from esrbench.entries.networks import build_network
from esrbench.entries.registry import Registry
from esrbench.errors import RegistrationError, UsageError
from esrbench.gate.bench import Bench, Request
from esrbench.gate.gate import check_revision
from esrbench.gate.revision import code_digest, open_revision
from esrbench.gate.verdicts import RUNTIME
from esrbench.runs.inspection import count_models

FILES = {
    "pyproject.toml": (
        '[project.entry-points."esrbench.models"]\nmine = "zoo_nets.entries:ENTRIES"\n'
    ),
    "zoo_nets/__init__.py": (
        "import zoo_nets as whole, zoo_nets.parts as named\n"
        "import zoo_nets.parts\n"
        "from zoo_nets import parts\n"
        "from . import parts as beside\n"
        "assert zoo_nets.parts is whole.parts is named is parts is beside\n"
    ),
    "zoo_nets/entries.py": (
        "from esrbench import ModelDescriptor\n"
        "ENTRIES = (ModelDescriptor(name='zoo', summary='a net', scales=(4,),\n"
        "                           factory='zoo_nets.zoo:Zoo'),)\n"
    ),
    "zoo_nets/parts.py": "WIDTH = 4\n",
    "zoo_nets/zoo.py": (
        "from torch import nn\n"
        "import zoo_nets.parts\n"
        "class Zoo(nn.Sequential):\n"
        "    def __init__(self, scale=4):\n"
        "        from zoo_nets.parts import WIDTH\n"
        "        assert WIDTH == zoo_nets.parts.WIDTH\n"
        "        super().__init__(nn.Conv2d(3, WIDTH, 1), nn.Conv2d(WIDTH, 48, 1),\n"
        "                         nn.PixelShuffle(scale))\n"
    ),
}


def commit(folder):
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "all")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout whose revision ``old`` has a network of width 4, and the working tree one of 6."""
    folder = tmp_path / "project"
    write_files(folder, FILES)
    git(folder, "init", "--quiet")
    commit(folder)
    git(folder, "tag", "old")
    write_files(folder, {"zoo_nets/parts.py": "WIDTH = 6\n"})
    monkeypatch.syspath_prepend(folder)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_nets"]:
        del sys.modules[name]


def candidates():
    registry = Registry()
    registry.add(importlib.import_module("zoo_nets.entries").ENTRIES, origin="tests")
    return registry


def params(*descriptors):
    """Counted one after the other in one worker process."""
    return [each.params for each in count_models([(each, 4) for each in descriptors], counters=())]


def built_here(descriptor):
    """Parameters of a network that is built in this process."""
    return sum(each.numel() for each in build_network(descriptor, 4, seed=0).parameters())


def test_both_versions_are_built_in_one_process(project):
    """Width w has (3 + 1) w + (w + 1) 48 parameters; imports within functions count too."""
    with open_revision("old", project) as revision:
        entry = revision.entry("zoo", 4)
        now = candidates().get("zoo")

        assert params(now, entry.descriptor, now) == [
            4 * 6 + 48 * 7,
            4 * 4 + 48 * 5,
            4 * 6 + 48 * 7,
        ]
        assert entry.descriptor.name.startswith("zoo-at-")
        assert not revision.same_code(now)


def test_nothing_is_left_behind(project):
    before = (list(sys.path), list(sys.meta_path), set(sys.modules))
    status = git(project, "status", "--porcelain")

    with open_revision("old", project) as revision:
        tree = revision.tree
        assert (tree / "zoo_nets/parts.py").read_text() == "WIDTH = 4\n"
        assert any(name.startswith("zoo_nets__at_") for name in sys.modules)

    assert not tree.exists()
    assert (list(sys.path), list(sys.meta_path)) == before[:2]
    assert not {name for name in set(sys.modules) - before[2] if name.startswith("zoo_nets__at_")}
    assert git(project, "status", "--porcelain") == status


def test_the_same_code_is_known_as_such(project):
    write_files(project, {"zoo_nets/parts.py": "'''How wide.'''\nWIDTH = 4  # narrow\n"})

    with open_revision("old", project) as revision:
        assert revision.same_code(candidates().get("zoo"))


def test_another_description_is_another_network(project):
    write_files(project, {"zoo_nets/parts.py": FILES["zoo_nets/parts.py"]})
    entries = FILES["zoo_nets/entries.py"]

    def same(text):
        write_files(project, {"zoo_nets/entries.py": text})
        sys.modules.pop("zoo_nets.entries", None)
        importlib.invalidate_caches()
        with open_revision("old", project) as revision:
            return revision.same_code(candidates().get("zoo"))

    assert same(entries.replace("a net", "a fine network indeed"))
    assert not same(entries.replace("scales=(4,)", "scales=(4,), min_lr_size=9, options={}"))


def test_a_package_in_a_subfolder_and_under_src(project):
    inner = project / "inner"
    write_files(
        inner,
        {name.replace("zoo_nets/", "src/zoo_nets/"): text for name, text in FILES.items()},
    )
    commit(project)

    with open_revision("HEAD", inner) as revision:
        assert set(revision.aliases) == {"zoo_nets"}
        assert built_here(revision.entry("zoo", 4).descriptor) == 4 * 4 + 48 * 5


def test_a_module_of_one_file(project):
    write_files(
        project,
        {
            "pyproject.toml": FILES["pyproject.toml"].replace("zoo_nets.entries", "single_net"),
            "single_net.py": FILES["zoo_nets/entries.py"].replace("zoo_nets.zoo", "single_net")
            + FILES["zoo_nets/zoo.py"],
        },
    )
    commit(project)

    with open_revision("HEAD", project) as revision:
        assert built_here(revision.entry("zoo", 4).descriptor) == 4 * 6 + 48 * 7


@pytest.mark.slow
def test_a_check_measures_both_versions_and_races_them(project):
    """Width 4 to 6; the race has too few pairs to tell anything, but both networks ran in it."""
    request = Request(metrics=frozenset({"params", RUNTIME}), race_size=(16, 16), max_pairs=20)
    with open_revision("old", project) as revision:
        report = check_revision(Bench(candidates(), request), revision)

    found = {each.metric: each for each in report.findings}
    assert set(found) == {"params", RUNTIME}
    assert (found["params"].before, found["params"].now) == (4 * 4 + 48 * 5, 4 * 6 + 48 * 7)
    assert found["params"].verdict == "regressed"
    # There is no file to update.
    assert found["params"].advice is None
    assert found[RUNTIME].verdict in {"regressed", "unchanged", "improved", "inconclusive"}
    assert report.exit_code == 1


def test_a_check_of_the_same_code_measures_nothing(project):
    write_files(project, {"zoo_nets/parts.py": "WIDTH = 4\n"})
    raced = []
    with open_revision("old", project) as revision:
        bench = Bench(candidates(), Request(), on_step=lambda *step: raced.append(step))
        report = check_revision(bench, revision)

    assert [(each.metric, each.verdict) for each in report.findings] == [("entry", "unchanged")]
    assert (report.exit_code, raced) == (0, [])


def test_networks_that_only_one_side_has(project):
    with open_revision("old", project) as revision:
        gone = check_revision(Bench(Registry(), Request()), revision)
        other = candidates().get("zoo").model_copy(update={"name": "other"})
        registry = Registry()
        registry.add([other], origin="tests")
        new = check_revision(Bench(registry, Request(names=("other",))), revision)

    assert [(each.verdict, each.exit_code) for each in gone.findings] == [("missing", 1)]
    assert [(each.verdict, each.exit_code) for each in new.findings] == [("missing", 3)]


@pytest.mark.parametrize(
    ("folder", "ref", "said"),
    [
        ("project", "no-such-ref", "^no-such-ref: there is no such file, folder or revision$"),
        ("project", "--all", "^--all: there is no such file, folder or revision$"),
        (".", "HEAD", "not a git repository"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_is_no_revision_is_refused(tmp_path, folder, ref, said):
    with pytest.raises(UsageError, match=f"(?m){said}"), open_revision(ref, tmp_path / folder):
        pass


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({"pyproject.toml": "[project]\n"}, UsageError, "declares no entry points"),
        (
            {"zoo_nets/entries.py": "raise ValueError('broken')\n"},
            RegistrationError,
            "cannot be loaded with this esrbench: broken",
        ),
        (
            {
                "zoo_nets/entries.py": FILES["zoo_nets/entries.py"].replace(
                    "zoo_nets.zoo:Zoo", "torch.nn:Identity"
                )
            },
            UsageError,
            "the code of torch.nn:Identity is not in that revision",
        ),
    ],
)
def test_a_revision_without_usable_networks(project, files, kind, said):
    write_files(project, files)
    commit(project)

    with pytest.raises(kind, match=said), open_revision("HEAD", project):
        pass
    assert not any(name.startswith("zoo_nets__at_") for name in sys.modules)


SOURCES = {
    "nets/__init__.py": "",
    "nets/mine.py": "'Mine.'\nimport torch\nfrom nets.parts import SLOPE\nfrom . import other\n",
    "nets/parts.py": "SLOPE = 0.05\n",
    "nets/other.py": "def f():\n    from nets.late import X\n    return X\n",
    "nets/late.py": "X = 1\n",
    "nets/unrelated.py": "Y = 1\n",
}


def digest(folder, changes=None):
    write_files(folder, {**SOURCES, **(changes or {})})

    def find(module):
        stem = folder.joinpath(*module.split("."))
        paths = (stem / "__init__.py", stem.with_suffix(".py"))
        return next((path for path in paths if path.is_file()), None)

    return code_digest(["nets.mine"], find, ["nets"])


@pytest.mark.parametrize(
    ("told", "file", "text"),
    [
        # Words and strangers do not count.
        ("same", "mine", SOURCES["nets/mine.py"].replace("Mine.", "Yours.")),
        ("same", "parts", "# a comment\nSLOPE =  0.05\n"),
        ("same", "unrelated", "Y = 2\n"),
        # Whatever is imported counts.
        ("other", "parts", "SLOPE = 0.06\n"),
        ("other", "late", "X = 2\n"),
        ("other", "__init__", "import os\n"),
        ("other", "other", "def f():\n    'doc'\n    return 1\n"),
        # The mode of evaluation is no dynamic code.
        ("other", "parts", "SLOPE = 1\ndef f(network):\n    return network.eval()\n"),
        # What cannot be followed is not called the same.
        ("unknown", "parts", "import importlib\nX = importlib.import_module('nets.' + 'late')\n"),
        ("unknown", "parts", "X = open('slope.txt').read()\n"),
        ("unknown", "parts", "exec('X = 1')\n"),
        ("unknown", "parts", "from nets.gone import X\n"),
        ("unknown", "parts", "def no_python(:\n"),
        ("unknown", "parts", "X = '\0'\n"),
    ],
)
def test_what_makes_code_another_or_unknown(tmp_path, told, file, text):
    before, now = digest(tmp_path), digest(tmp_path, {f"nets/{file}.py": text})
    assert before is not None
    assert {before: "same", None: "unknown"}.get(now, "other") == told
