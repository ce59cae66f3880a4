from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from esrbench.cli.run import demonstration_hint

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Command = Callable[..., subprocess.CompletedProcess[str]]

QUICK = ("--no-latency", "--threads", "1", "--input-size", "16x16")


def test_a_first_run_has_psnr_and_says_whose_weights_ran(
    in_process: Command, shared_pair_folder: Path, tmp_path: Path
) -> None:
    done = in_process(
        "run", "rfdn", "--data", shared_pair_folder, *QUICK, ESRBENCH_CACHE=str(tmp_path / "empty")
    )
    assert done.returncode == 0, done.stderr
    assert "Demonstration weights of esrbench, not the authors': rfdn." in done.stdout
    assert "Random weights" not in done.stdout
    assert "`esrbench fetch weights rfdn` replaces them with the authors'" in done.stderr


@pytest.mark.parametrize(
    ("name", "said"),
    [("imdn", "`esrbench fetch weights imdn`"), ("srresnet", "its authors have released none")],
)
def test_the_hint_advises_only_what_can_help(name: str, said: str) -> None:
    assert said in demonstration_hint(name, 4)
