"""The notebooks of ``docs/`` run from their first cell to their last, in a folder of their own."""

import shutil
import sys
from pathlib import Path

import pytest
from builders import run

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook, tmp_path):
    pytest.importorskip("nbmake", reason="nbmake is not installed")
    shutil.copy(notebook, tmp_path)
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", notebook.name)
    private = {"ESRBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = run(sys.executable, *command, "--nbmake-timeout=800", folder=tmp_path, **private)
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(notebook):
    """What a machine printed is not stored: each reader's own machine prints its own."""
    import json

    cells = [each for each in json.loads(notebook.read_text())["cells"] if "outputs" in each]
    assert len(cells) > 5
    assert all(not each["outputs"] and each["execution_count"] is None for each in cells)
