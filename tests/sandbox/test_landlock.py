import json
import re
import subprocess
from pathlib import Path

import pytest
from builders import python

from esrbench.sandbox import landlock

HEADER = Path("/usr/include/linux/landlock.h")
SCRIPT = """
import ctypes, json, os, sys
from esrbench.sandbox import landlock
grants, attempts = json.loads(sys.argv[1])
ctypes.CDLL(None).prctl(38, ctypes.c_ulong(1), 0, 0, 0)
landlock.restrict(grants)
def told(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return type(error).__name__
    return "done"
calls = {
    "read": lambda path: open(path).close(),
    "list": os.listdir,
    "write": lambda path: open(path, "r+").close(),
    "make": lambda path: open(path, "x").close(),
    "cut": lambda path: os.truncate(path, 0),
    "execute": lambda path: os.posix_spawn(path, [path], {}),
    "move": lambda path: os.rename(path, path + "2"),
}
print(json.dumps([told(calls[name], path) for name, path in attempts]))
"""

needs_landlock = pytest.mark.skipif(
    not landlock.version(), reason="this kernel has no Landlock, or it is switched off"
)


def under(grants, attempts):
    """What came of attempts in a process that kept these grants."""
    return json.loads(python(SCRIPT, json.dumps([grants, attempts])))


@pytest.fixture
def folder(tmp_path):
    for name in ("given/inner/file", "other/file"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("content")
    (tmp_path / "given/program").write_text("#!/bin/true\n")
    (tmp_path / "given/program").chmod(0o755)
    return tmp_path


LAWS = [
    # what comes of: read, list, write, make, cut, execute
    ("list", ["no", "done", "no", "no", "no", "no"]),
    ("read", ["done", "done", "no", "no", "no", "no"]),
    ("execute", ["done", "done", "no", "no", "no", "done"]),
    ("write", ["done", "done", "done", "done", "done", "no"]),
    ("build", ["done", "done", "done", "done", "done", "done"]),
]


@needs_landlock
@pytest.mark.parametrize(("grant", "law"), LAWS)
def test_a_grant_gives_what_it_says_below_a_folder_and_nothing_else(folder, grant, law):
    given = folder / "given"
    if landlock.version() < landlock.TRUNCATE_SINCE:
        pytest.skip("this kernel's Landlock has no say in truncation")
    attempts = [
        ("read", given / "inner/file"),
        ("list", given / "inner"),
        ("write", given / "inner/file"),
        ("make", given / "inner/new"),
        ("cut", given / "inner/file"),
        ("execute", given / "program"),
    ]
    # The program's interpreter must be executable itself.
    grants = [(grant, str(given))]
    grants += [("execute", path) for path in ("/usr", "/lib", "/lib64") if Path(path).exists()]
    found = under(grants, [(name, str(path)) for name, path in attempts])
    assert found == ["done" if word == "done" else "PermissionError" for word in law]
    outside = [("read", folder / "other/file"), ("list", folder / "other"), ("list", folder)]
    found = under(grants, [(name, str(path)) for name, path in outside])
    assert set(found) == {"PermissionError"}


@needs_landlock
def test_a_single_file_can_be_granted(folder):
    file = folder / "given/inner/file"
    attempts = [("read", file), ("write", file), ("read", folder / "other/file")]
    found = under([("read", str(file))], [(name, str(path)) for name, path in attempts])
    assert found == ["done", "PermissionError", "PermissionError"]


@needs_landlock
def test_a_grant_on_what_is_not_there_is_an_error(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as found:
        under([("read", str(tmp_path / "nothing"))], [])
    assert "FileNotFoundError" in found.value.stderr


def test_constants_are_those_of_the_kernels_header():
    if not HEADER.is_file():
        pytest.skip(f"no kernel headers at {HEADER}")
    bits = dict(re.findall(r"#define LANDLOCK_(\w+)\s+\(1ULL << (\d+)\)", HEADER.read_text()))
    ours = {
        "ACCESS_FS_EXECUTE": landlock.EXECUTE,
        "ACCESS_FS_WRITE_FILE": landlock.WRITE_FILE,
        "ACCESS_FS_READ_FILE": landlock.READ_FILE,
        "ACCESS_FS_READ_DIR": landlock.READ_DIR,
        "ACCESS_FS_MAKE_CHAR": landlock.MAKE_CHAR,
        "ACCESS_FS_MAKE_SOCK": landlock.MAKE_SOCK,
        "ACCESS_FS_MAKE_BLOCK": landlock.MAKE_BLOCK,
        "ACCESS_FS_REFER": landlock.REFER,
        "ACCESS_FS_TRUNCATE": landlock.TRUNCATE,
        "ACCESS_FS_IOCTL_DEV": landlock.IOCTL_DEV,
        "ACCESS_NET_BIND_TCP": landlock.NET_BIND_TCP,
        "ACCESS_NET_CONNECT_TCP": landlock.NET_CONNECT_TCP,
        "SCOPE_ABSTRACT_UNIX_SOCKET": landlock.SCOPE_ABSTRACT_SOCKETS,
        "SCOPE_SIGNAL": landlock.SCOPE_SIGNALS,
    }
    # Old headers lack the young ones.
    told = {name: 1 << int(bits[name]) for name in ours if name in bits}
    assert told == {name: ours[name] for name in told}
    assert len(told) >= 7


@pytest.mark.parametrize(
    ("abi", "rights", "network", "scopes"),
    [
        # kernel landlock.rst: which version brought what
        (1, (1 << 13) - 1, 0, 0),
        (2, (1 << 14) - 1, 0, 0),
        (3, (1 << 15) - 1, 0, 0),
        (4, (1 << 15) - 1, 3, 0),
        (5, (1 << 16) - 1, 3, 0),
        (6, (1 << 16) - 1, 3, 3),
        (7, (1 << 16) - 1, 3, 3),
    ],
)
def test_each_version_takes_away_what_it_can(abi, rights, network, scopes):
    assert landlock.handled(abi) == (rights, network, scopes)


def test_elsewhere_there_is_none(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert landlock.version() == 0
