"""A disk whose operations fail, and what it holds after a power loss."""

import errno
import math
import os
import re
from contextlib import suppress

from esrbench.errors import RecordError
from esrbench.files import Files, sync_folder, write_new
from esrbench.runs.store import Store

MODES = ("ENOSPC", "EIO", "short write", "killed before", "killed after")

_TOKEN = re.compile(r"[0-9a-f]{8}(?=\.tmp$)")


class Killed(BaseException):
    """The process is gone; nothing that it would still do has an effect."""


class Inode:
    """A file: what programs read of it, and what a power loss leaves."""

    def __init__(self, content):
        self.content = content
        self.durable = content
        self.dropped = False


class Hasty(Files):
    """Of those who look at what is there, not at what a power loss would leave of their own."""

    def sync(self, descriptor):
        """Not at all."""

    def sync_folder(self, path):
        """Not at all."""


def opened(results):
    return Store(results, files=Hasty())


class FaultyFiles(Files):
    """Real operations, of which one fails; and an account of what is on the disk for certain.

    Bytes are so after ``sync`` of their file, names after ``sync_folder``. After a failed
    ``sync`` the system has dropped the bytes, and says of the next that all is well.
    """

    def __init__(self, root, *, fail_at=0, mode="EIO"):
        self.root = root
        self.fail_at = fail_at
        self.mode = mode
        self.count = 0
        self.dead = False
        self.open = {}
        self.now = {
            path: Inode(path.read_bytes()) if path.is_file() else None
            for path in [root, *root.rglob("*")]
        }
        self.durable = dict(self.now)
        self.pending = []

    def _step(self, effect, partial=None):
        if self.dead:
            raise Killed
        self.count += 1
        if self.count != self.fail_at:
            return effect()
        if self.mode == "short write":
            return partial() if partial else effect()
        if self.mode == "killed after":
            (partial or effect)()
        if self.mode.startswith("killed"):
            self.die()
            raise Killed
        number = errno.ENOSPC if self.mode == "ENOSPC" else errno.EIO
        raise OSError(number, os.strerror(number))

    def die(self):
        self.dead = True
        for descriptor in self.open:
            os.close(descriptor)
        self.open = {}

    def _change(self, folder, change):
        change(self.now)
        self.pending.append((folder, change))

    def after_power_loss(self):
        """All that the disk may hold: each beginning of the changes of names that are not
        flushed, with none, half and all of the bytes that are not."""
        for kept in range(len(self.pending) + 1):
            names = dict(self.durable)
            for _, change in self.pending[:kept]:
                change(names)
            held = {path: inode for path, inode in names.items() if _reachable(path, names)}
            for cut in (0.0, 0.5, 1.0):
                yield {
                    path: inode and _cut(inode.durable, inode.content, cut)
                    for path, inode in held.items()
                }

    def _opened(self, path, descriptor):
        inode = self.now.get(path) or Inode(b"")
        if path not in self.now:
            self._change(path.parent, lambda names: names.__setitem__(path, inode))
        self.open[descriptor] = inode
        return descriptor

    def create(self, path):
        return self._step(lambda: self._opened(path, Files.create(self, path)))

    def open_lock(self, path):
        return self._step(lambda: self._opened(path, Files.open_lock(self, path)))

    def write(self, descriptor, content):
        def effect(content=content):
            written = Files.write(self, descriptor, content)
            self.open[descriptor].content += bytes(content[:written])
            return written

        return self._step(effect, lambda: effect(content[: len(content) // 2]))

    def sync(self, descriptor):
        inode = self.open[descriptor] if not self.dead else Inode(b"")

        def effect():
            if not inode.dropped:
                inode.durable = inode.content

        try:
            self._step(effect)
        except OSError:
            inode.dropped = True
            raise

    def close(self, descriptor):
        def effect():
            Files.close(self, descriptor)
            self.open.pop(descriptor, None)

        self._step(effect)

    def rename(self, source, target):
        def change(names):
            for path in [path for path in names if path.is_relative_to(source)]:
                names[target / path.relative_to(source)] = names.pop(path)

        def effect():
            Files.rename(self, source, target)
            self._change(source.parent, change)

        self._step(effect)

    def link(self, source, target):
        def effect():
            Files.link(self, source, target)
            inode = self.now[source]
            self._change(target.parent, lambda names: names.__setitem__(target, inode))

        self._step(effect)

    def lock(self, descriptor, *, shared):
        self._step(lambda: Files.lock(self, descriptor, shared=shared))

    def sync_folder(self, path):
        def effect():
            for folder, change in self.pending:
                if folder == path:
                    change(self.durable)
            self.pending = [each for each in self.pending if each[0] != path]

        self._step(effect)


def _reading(name):
    """An operation that changes nothing."""
    return lambda files, *what: files._step(lambda: getattr(Files, name)(files, *what))


def _changing(name, change):
    """An operation on one path that changes the names in its folder."""

    def operation(files, path):
        def effect():
            getattr(Files, name)(files, path)
            files._change(path.parent, lambda names: change(names, path))

        files._step(effect)

    return operation


for _name in ("is_folder", "names", "read", "stamp"):
    setattr(FaultyFiles, _name, _reading(_name))
FaultyFiles.make_folder = _changing(
    "make_folder", lambda names, path: names.__setitem__(path, None)
)
for _name in ("unlink", "remove_folder"):
    setattr(FaultyFiles, _name, _changing(_name, lambda names, path: names.pop(path, None)))


def _reachable(path, names):
    return path in names and all(names.get(up, path) is None for up in path.parents if up in names)


def _cut(durable, content, share):
    if share == 1.0:
        return content
    return durable + content[len(durable) :][: int(share * (len(content) - len(durable)))]


def state_of(root):
    return {path: path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def make_so(root, state):
    for path in sorted(root.rglob("*"), reverse=True):
        if path not in state or path.is_dir() != (state[path] is None):
            path.rmdir() if path.is_dir() else path.unlink()
    for path in sorted(state):
        content = state[path]
        if content is None:
            path.mkdir(exist_ok=True)
        elif not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


class SyncAgain(FaultyFiles):
    """Of one who takes a second try for a proof."""

    def sync(self, descriptor):
        with suppress(OSError):
            super().sync(descriptor)
            return
        super().sync(descriptor)


class InPlace(Store):
    """Of one who writes into the file that others read."""

    def _replace(self, target, content):
        with suppress(FileNotFoundError):
            self._files.unlink(target)
        write_new(target, content, flush=True, files=self._files)
        sync_folder(target.parent, self._files)


class WriteOnce(FaultyFiles):
    """Of one who thinks that a write writes all."""

    def write(self, descriptor, content):
        super().write(descriptor, content)
        return len(content)


MUTANTS = {
    # Of those who believe that a rename is enough, or that the bytes of a file are.
    "no file sync": {"files": type("NoFileSync", (FaultyFiles,), {"sync": Hasty.sync})},
    "no folder sync": {
        "files": type("NoFolderSync", (FaultyFiles,), {"sync_folder": Hasty.sync_folder})
    },
    "sync again": {"files": SyncAgain},
    "in place": {"store": InPlace},
    "one write": {"files": WriteOnce},
}


def sweep(root, *, before, act, wrong, files=FaultyFiles, store=Store):
    """Have each operation of ``act`` fail in each way, and look at what is there then.

    Args:
        root: of the disk.
        before: puts there what lies there.
        act: what a store does.
        wrong: says what is wrong afterwards, given whether ``act`` ended well.
        files: operations of the store.
        store: that is tried.

    Returns:
        What is wrong, and the number of operations.
    """
    root.mkdir()
    before(opened(root / "results"))
    start = state_of(root)
    found = []
    seen = set()
    operations = at = 0
    while at <= operations:
        for mode in MODES if at else MODES[:1]:
            make_so(root, start)
            disk = files(root, fail_at=at, mode=mode)
            done = False
            with suppress(Killed, RecordError):
                act(store(root / "results", files=disk))
                done = True
            disk.die()
            operations = max(operations, disk.count)
            for state in [state_of(root), *disk.after_power_loss()]:
                key = (done, *sorted(_told_apart(state)))
                if key in seen:
                    continue
                seen.add(key)
                make_so(root, state)
                said = [*wrong(opened(root / "results"), done), *litter(opened(root / "results"))]
                found += [f"{mode} at operation {at}: {each}" for each in said]
        at += 1
    return found, operations


def _told_apart(state):
    """What differs between two states but for chance and clocks."""
    for path, content in state.items():
        if path.name != ".lock":
            yield _TOKEN.sub("", str(path)), content or b""


def litter(store):
    """What the next writer leaves lying."""
    store.remove_stale(math.inf)
    yield from (f"{path} is left" for path in store.folder.rglob("*.tmp"))
