"""Try everything that lies in ``attempts`` and print what came of it."""

import importlib.util
import json
from pathlib import Path

from common import Honest as Net

__all__ = ["Net"]

here = Path(__file__).parent
facts = json.loads((here / "facts.json").read_text())
for path in sorted((here / "attempts").glob("*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        said = {"outcome": "done", "how": repr(module.attempt(facts))[:80]}
    except (OSError, MemoryError) as error:
        said = {"outcome": "denied", "how": repr(error)[:80]}
    except Exception as error:  # noqa: BLE001 - a failure of the attempt itself, which its test shows
        said = {"outcome": "failed", "how": repr(error)[:200]}
    print("attempt", json.dumps({"name": path.stem, **said}), flush=True)  # noqa: T201 - read by the test
