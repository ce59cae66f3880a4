"""Which files are an entry's, found without importing them."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
from builders import descriptor, released

from esrbench.entries.sources import defined_at, require_bounded, source_sha256, view_paths
from esrbench.errors import RegistrationError

BOMB = "raise SystemExit('imported')\n"


def entry(factory, **fields):
    return descriptor(factory=factory, **fields)


def submitted(folder):
    weights = released(filename="deep/w.pth")
    return entry("model:Net", folder=str(folder), submitted=(weights,))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "a-b"
    for name in ("model.py", "parts/__init__.py", "deep/w.pth", "submission.toml", "notes.txt"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(BOMB)
    (made / "link.py").symlink_to("model.py")
    return made


def _append(path):
    def append(folder):
        with (folder / path).open("a") as file:
            file.write("#")

    return append


def _relink(folder):
    (folder / "link.py").unlink()
    (folder / "link.py").symlink_to("parts")


def test_a_folder_of_too_many_bytes_is_refused_unread(folder):
    assert len(source_sha256(submitted(folder))) == 64
    for name in ("parts/data.bin", "__pycache__"):
        path = folder / name
        with path.open("wb") as file:
            file.truncate(30 * 10**9)  # takes no space
        for read in (lambda: source_sha256(submitted(folder)), lambda: require_bounded(folder)):
            with pytest.raises(RegistrationError, match="a-b: more than 2,147,483,648 bytes"):
                read()
        path.unlink()


def test_a_folder_of_too_many_files_is_refused(folder, monkeypatch):
    monkeypatch.setattr("esrbench.entries.sources.MAX_FOLDER_FILES", 20)
    require_bounded(folder)
    deep = folder.joinpath(*("d" * 20))
    deep.mkdir(parents=True)
    with pytest.raises(RegistrationError, match="more than 20 files and folders"):
        require_bounded(folder)


def test_links_and_caches_take_no_room(folder, tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(30 * 10**9)
    (folder / "outside").symlink_to(large)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "large").hardlink_to(large)
    os.mkfifo(folder / "pipe")
    require_bounded(folder)


@pytest.mark.parametrize(
    "change",
    [
        _append("model.py"),
        _append("parts/__init__.py"),
        _append("submission.toml"),
        _append("notes.txt"),
        _append("more.cu"),
        _relink,
        lambda folder: (folder / "model.py").rename(folder / "net.py"),
        lambda folder: os.mkfifo(folder / "pipe"),
        lambda folder: (folder / "parts" / "__init__.py").rename(folder / "__init__.py"),
    ],
)
def test_every_file_of_a_submission_counts(folder, change):
    before = source_sha256(submitted(folder))
    assert source_sha256(submitted(folder)) == before
    change(folder)
    assert source_sha256(submitted(folder)) != before


@pytest.mark.parametrize("path", ["deep/w.pth", "__pycache__/model.pyc", "parts/.git/HEAD"])
def test_weights_and_caches_do_not(folder, path):
    before = source_sha256(submitted(folder))
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text("other")
    assert source_sha256(submitted(folder)) == before


def test_it_does_not_matter_where_a_submission_lies(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved" / "a-b", symlinks=True)
    assert source_sha256(submitted(moved)) == source_sha256(submitted(folder))


def test_a_submission_that_is_gone_is_named(tmp_path):
    with pytest.raises(RegistrationError, match="folder does not exist"):
        source_sha256(submitted(tmp_path / "gone"))


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    place = tmp_path / "src"
    place.mkdir()
    monkeypatch.syspath_prepend(str(place))
    return place


def test_a_package_counts_with_all_its_sources(on_path):
    package = on_path / "esrtest_package"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text(BOMB)
    (package / "deep" / "net.py").write_text(BOMB)
    one, hook = entry("esrtest_package.deep.net:Net"), "esrtest_package.hooks:fold"
    before = source_sha256(one)
    assert source_sha256(entry("esrtest_package:Other", prepare=hook)) == before
    (package / "weights.bin").write_text("no source")
    assert source_sha256(one) == before
    (package / "kernel.cu").write_text("a source")
    assert source_sha256(one) != before
    assert view_paths(one) == ((on_path,), (on_path,))
    assert "esrtest_package" not in sys.modules


def test_a_single_module_and_a_hook_elsewhere_both_count(on_path, tmp_path):
    (on_path / "esrtest_single.py").write_text(BOMB)
    hook = tmp_path / "elsewhere" / "hook.py"
    hook.parent.mkdir()
    hook.write_text(BOMB)
    one = entry("esrtest_single:Net", prepare=f"{hook}:fold")
    hashes = {source_sha256(one), source_sha256(entry("esrtest_single:Net"))}
    hook.write_text(BOMB + "#")
    hashes.add(source_sha256(one))
    (on_path / "esrtest_single.py").write_text(BOMB + "#")
    hashes.add(source_sha256(one))
    assert len(hashes) == 4
    both = (on_path, hook.parent)
    assert view_paths(one) == (both, both)


def test_a_namespace_package_counts_in_all_its_portions(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "esrtest_space").mkdir(parents=True)
        (tmp_path / name / "esrtest_space" / f"{name}.py").write_text(BOMB)
        monkeypatch.syspath_prepend(str(tmp_path / name))
    spaced = entry("esrtest_space.one:Net")
    before = source_sha256(spaced)
    (tmp_path / "two" / "esrtest_space" / "two.py").write_text("other")
    assert source_sha256(spaced) != before
    readable, python_path = view_paths(spaced)
    assert set(readable) == set(python_path) == {tmp_path / "one", tmp_path / "two"}


def test_an_editable_install_needs_its_own_files_alone(tmp_path, monkeypatch):
    """Build backends install a finder that knows where a package lies, under whatever name."""
    import importlib.util

    source = tmp_path / "project" / "src_of_it"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(BOMB)

    class Finder:
        @staticmethod
        def find_spec(name, *_):
            if name != "esrtest_editable":
                return None
            places = [str(source)]
            file = source / "__init__.py"
            return importlib.util.spec_from_file_location(
                name, file, submodule_search_locations=places
            )

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    installed = entry("esrtest_editable.net:Net")
    before = source_sha256(installed)
    (source / "net.py").write_text("new")
    assert source_sha256(installed) != before
    assert view_paths(installed) == ((source,), ())


def test_what_is_installed_or_ours_needs_nothing():
    for factory in (
        "esrbench_models.rfdn.network:RFDN",
        "esrbench.metrics:Metric",
        "torch.nn:Upsample",
        "math:sqrt",
    ):
        assert view_paths(entry(factory)) == ((), ())
    assert view_paths(entry("json:loads")) == ((), ())
    assert source_sha256(entry("math:sqrt")) != source_sha256(entry("json:loads"))


@pytest.mark.parametrize("factory", ["esrtest_nowhere:Net", "/nowhere/net.py:Net"])
def test_what_is_not_there_is_named(factory):
    for ask in (source_sha256, view_paths):
        with pytest.raises(RegistrationError, match="nowhere"):
            ask(entry(factory))


def test_a_module_made_by_hand_has_no_source(monkeypatch):
    import types

    monkeypatch.setitem(sys.modules, "esrtest_made", types.ModuleType("esrtest_made"))
    with pytest.raises(RegistrationError, match="there is no module 'esrtest_made'"):
        source_sha256(entry("esrtest_made:Net"))


def test_a_submission_shows_its_folder_alone(folder):
    assert view_paths(submitted(folder)) == ((folder,), ())


CHECKOUT = {
    "src/mynets/__init__.py": BOMB + "from .large.net import Large as Net\n",
    "src/mynets/large/__init__.py": "from mynets.large.net import *\n",
    "src/mynets/large/net.py": "import torch\n\n\n@final\nclass Large:\n    pass\n",
    "src/mynets/loop.py": "from mynets.loop import Net\n",
    "src/mynets/odd.py": "class Net(\n",
    "submissions/a/model.py": "def make(scale):\n    pass\n\n\nclass Net:\n    pass\n",
    "net.py": "VALUE = 1\nNet = make(VALUE)\n",
}


@pytest.mark.parametrize(
    ("factory", "folder", "found"),
    [
        ("mynets:Net", None, ("src/mynets/large/net.py", 5)),
        ("mynets:Net.of_size", None, ("src/mynets/large/net.py", 5)),
        ("mynets.large:Large", None, ("src/mynets/large/__init__.py", 1)),
        ("mynets.loop:Net", None, ("src/mynets/loop.py", 1)),
        ("mynets.odd:Net", None, ("src/mynets/odd.py", 1)),
        ("model:Net", "submissions/a", ("submissions/a/model.py", 5)),
        ("net:Net", "submissions/a", None),
        ("net.py:Net", None, ("net.py", 1)),
        ("json:loads", None, None),
        ("there.is.none:Net", None, None),
    ],
)
def test_where_a_checkout_defines_a_network(tmp_path, monkeypatch, factory, folder, found):
    for name, text in CHECKOUT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    network = entry(factory, folder=folder and str(tmp_path / folder))
    assert defined_at(network, tmp_path) == found


def test_a_definition_outside_the_checkout_is_nowhere(tmp_path, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (tmp_path / "net.py").write_text("class Net:\n    pass\n")
    (checkout / "net.py").symlink_to(tmp_path / "net.py")
    monkeypatch.chdir(checkout)
    assert defined_at(entry("net:Net"), checkout) is None
    assert defined_at(entry(f"{tmp_path}/net.py:Net"), checkout) is None
    assert defined_at(entry(f"{tmp_path}/net.py:Net"), tmp_path) == ("net.py", 1)
