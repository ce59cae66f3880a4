"""Workers in every sandbox that works on this machine, to try things."""

import json
import os
import shutil
from pathlib import Path

import pytest

from esrbench.sandbox.limits import Limits
from esrbench.sandbox.tiers import SANDBOXES, obstacle
from esrbench.sandbox.view import View

SMALL = Limits(
    memory_bytes=2 << 30, file_bytes=8 << 20, temp_bytes=16 << 20, shared_memory_bytes=4 << 20
)
PATIENCE_SECONDS = 120.0


@pytest.fixture(scope="module", params=SANDBOXES)
def tier(request):
    chosen = request.param
    found = obstacle(chosen)
    if found is not None:
        pytest.skip(f"{chosen} does not work on this machine: {found.reason}")
    return chosen


@pytest.fixture
def place(tmp_path):
    """A folder with something to read, something hidden in it, and the attempts."""
    return furnish(tmp_path / "with space")


def furnish(place):
    for name in ("readable/LR/0801.png", "readable/HR/0801.png", "readable/HR.txt", "secret.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("pixels")
    (place / "code").mkdir()
    shutil.copy(Path(__file__).parents[1] / "attempts.py", place / "code")
    return place


def _view(place, **fields):
    given = {
        "readable": (place / "readable",),
        "hidden": (place / "readable/HR", place / "readable/HR.txt"),
        "python_path": (place / "code",),
    }
    return View(**(given | fields))


class Attempts:
    """Runs attempts at one tier and reads what came of them.

    Limits are ``SMALL`` and the view is ``view()`` unless others are given.
    """

    small = SMALL

    def __init__(self, tier, place):
        self.tier = tier
        self.place = place
        self.sandbox = SANDBOXES[tier](entry="attempts:main")

    def view(self, **fields):
        """The readable folder but for what is hidden in it, and the attempts."""
        return _view(self.place, **fields)

    def start(self, name, *arguments, fds=(), **fields):
        read, write = os.pipe()
        try:
            process = self.sandbox.start(
                [name, *map(str, arguments)],
                fields.pop("view", self.view()),
                fields.pop("limits", SMALL),
                pass_fds=fds,
                log_fd=write,
                variables=fields.pop("variables", {"OMP_NUM_THREADS": "1"}),
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        return process, read

    def __call__(self, name, *arguments, **fields):
        process, read = self.start(name, *arguments, **fields)
        with os.fdopen(read, "rb") as log:
            said = log.read().decode(errors="replace")
        process.wait(PATIENCE_SECONDS)
        self.sandbox.kill(process)
        lines = [line for line in said.splitlines() if line.startswith("{")]
        if not lines:
            return {"silent": said, "code": process.returncode}
        return json.loads(lines[-1])


@pytest.fixture
def attempt(tier, place):
    return Attempts(tier, place)


DONE = "done"


@pytest.fixture(scope="module")
def attempts_at(tmp_path_factory):
    """Attempts at a tier, in a place of their own unless one is given."""

    def build(tier, place=None):
        found = obstacle(tier)
        if found is not None:
            pytest.skip(f"{tier} does not work on this machine: {found.reason}")
        return Attempts(tier, place or furnish(tmp_path_factory.mktemp(tier) / "with space"))

    return build
