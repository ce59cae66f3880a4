"""The installed command, run as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def esrbench(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``esrbench`` in an empty folder."""
    command = Path(sys.executable).with_name("esrbench")
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [command, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "COLUMNS": "200", **environment},
        )

    return run
