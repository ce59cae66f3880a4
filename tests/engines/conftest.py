"""What tests of engines share: suites of tiny networks, as tests of runs have them."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "runs" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("conftest_of_runs", _PATH)
_RUNS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_RUNS)

quick, make_suite, sources = _RUNS.quick, _RUNS.make_suite, _RUNS.sources
trio, store, workers = _RUNS.trio, _RUNS.store, _RUNS.workers
