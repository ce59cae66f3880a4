from __future__ import annotations

import pytest

from esrbench.cli.run import demonstration_hint

QUICK = ("--no-latency", "--threads", "1", "--input-size", "16x16")


def test_a_first_run_has_psnr_and_says_whose_weights_ran(in_process, shared_pair_folder, tmp_path):
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
def test_the_hint_advises_only_what_can_help(name, said):
    assert said in demonstration_hint(name, 4)
