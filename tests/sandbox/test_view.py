import sys
from pathlib import Path

import pytest

from esrbench.devices import DEVICES
from esrbench.environment import own_packages
from esrbench.errors import UsageError
from esrbench.sandbox.interpreters import links
from esrbench.sandbox.limits import Limits
from esrbench.sandbox.tiers import TEMP, bubblewrap_options, landlock_grants, mounts
from esrbench.sandbox.view import View, Visible, resolve_view, without


@pytest.fixture
def tree(tmp_path):
    for name in ("a/one", "a/two/deep", "a/two/other", "b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a/link").symlink_to("/")
    return tmp_path


def seen(*readable, hidden=(), device="cpu"):
    return Visible(
        programs=(),
        readable=readable,
        modules=(),
        hidden=hidden,
        path=(),
        device=DEVICES[device],
    )


def bound(options):
    return [
        (options[at + 1], options[at + 2])
        for at, option in enumerate(options)
        if option == "--ro-bind"
    ]


def test_a_folder_without_what_is_hidden_is_its_other_parts(tree):
    folder = tree / "a"
    assert list(without(folder, [])) == [folder]
    assert list(without(folder, [tree / "b"])) == [folder]
    # Links are left out: what is granted on one would be granted on all it leads to.
    assert list(without(folder, [folder / "two/deep"])) == [folder / "one", folder / "two/other"]
    assert list(without(folder, [folder / "two"])) == [folder / "one"]
    assert list(without(folder, [folder])) == []
    assert list(without(folder, [tree])) == []


def test_every_worker_sees_the_interpreter_and_this_program_but_no_checkout():
    visible = resolve_view(View(readable=()))
    assert set(links(Path(sys.executable))) <= set(visible.programs)
    assert visible.readable == tuple(own_packages().values())
    root = own_packages()["esrbench"].parent
    for path in (*visible.programs, *visible.readable):
        if root.is_relative_to(sys.prefix):
            continue  # installed: what lies above it is the interpreter's, and no checkout
        assert path != root
        assert path not in root.parents
    assert str(root) not in visible.path or root.name == "site-packages"
    assert any(Path(path).name == "site-packages" for path in visible.path)


def test_modules_come_first_on_the_path(tree):
    visible = resolve_view(View(readable=(), python_path=(tree / "a",)))
    assert visible.path[0] == str(tree / "a")
    assert tree / "a" in visible.readable
    assert str(tree) not in visible.path


def test_of_hidden_folders_the_outermost_counts(tree):
    visible = resolve_view(View(readable=(), hidden=(tree / "a/two/deep", tree / "a/two")))
    assert visible.hidden == (tree.resolve() / "a/two",)


def test_what_is_readable_must_be_there(tree):
    with pytest.raises(UsageError, match="nothing, which the network needs, is not there"):
        resolve_view(View(readable=(tree / "nothing",)))
    with pytest.raises(UsageError, match="must not see"):
        resolve_view(View(readable=(tree / "a/one",), hidden=(tree / "a",)))


def test_the_interpreters_links_are_followed_one_by_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/python3").write_text("")
    (tmp_path / "second").symlink_to("real/python3")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    assert list(links(tmp_path / "first")) == [
        tmp_path / name for name in ("first", "second", "real/python3")
    ]


def test_bubblewrap_binds_each_file_once_and_covers_what_is_hidden(tree):
    options = mounts(seen(tree / "a/one", tree / "a", hidden=(tree / "a/two", tree / "a/one")))
    assert bound(options) == [
        (str(tree / "a"), str(tree / "a")),
        ("/dev/null", str(tree / "a/one")),
    ]
    cover = ["--perms", "0000", "--tmpfs", str(tree / "a/two"), "--remount-ro"]
    assert any(options[at : at + 5] == cover for at in range(len(options)))


def test_bubblewrap_shows_a_link_under_both_names(tree):
    (tree / "alias").symlink_to(tree / "a")
    found = bound(mounts(seen(tree / "alias/one")))
    real, alias = str(tree / "a/one"), str(tree / "alias/one")
    assert sorted(found) == sorted([(real, real), (real, alias)])


def test_bubblewrap_leaves_nothing_writable_that_has_no_cap(tree):
    limits = Limits(temp_bytes=1000, shared_memory_bytes=2000)
    options = bubblewrap_options(seen(tree / "a"), limits)
    text = " ".join(options)
    assert f"--size 1000 --tmpfs {TEMP}" in text
    assert "--size 2000 --tmpfs /dev/shm" in text
    assert "--remount-ro /dev " in text
    assert options[-2:] == ["--remount-ro", "/"]
    for flag in ("--unshare-net", "--unshare-pid", "--unshare-ipc", "--die-with-parent"):
        assert flag in options
    assert "--bind" not in options


def test_a_gpu_brings_its_devices(tree, tmp_path):
    devices = tmp_path / "dev"
    devices.mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda"):
        (devices / name).touch()
    options = bubblewrap_options(seen(tree / "a", device="cuda"), Limits(), devices=devices)
    given = [options[at + 1] for at, option in enumerate(options) if option == "--dev-bind"]
    names = ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm")
    assert given == [str(devices / name) for name in names]
    assert "--dev-bind" not in bubblewrap_options(seen(tree / "a"), Limits(), devices=devices)


def test_landlock_lets_start_programs_only_where_processes_are_allowed(tree):
    visible = resolve_view(View(readable=(tree / "a",)))
    kinds = {kind for kind, _ in landlock_grants(visible, Limits(), str(tree / "b"))}
    assert not kinds & {"execute", "build"}
    kinds = {kind for kind, _ in landlock_grants(visible, Limits(processes=True), str(tree / "b"))}
    assert {"execute", "build"} <= kinds


def test_landlock_grants_reading_beside_what_is_hidden(tree):
    visible = resolve_view(View(readable=(tree / "a",), hidden=(tree / "a/two",)))
    ours = [
        (kind, Path(path).relative_to(tree))
        for kind, path in landlock_grants(visible, Limits(), str(tree / "b"))
        if Path(path).is_relative_to(tree)
    ]
    assert ours == [("read", Path("a/one")), ("write", Path("b"))]


def test_landlock_shows_names_in_folders_of_modules(tree):
    view = View(readable=(), python_path=(tree / "a",), hidden=(tree / "a/two",))
    kept = list(landlock_grants(resolve_view(view), Limits(), str(tree / "b")))
    assert ("list", str(tree / "a")) in kept
    assert ("read", str(tree / "a")) not in kept
