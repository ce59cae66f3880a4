"""Efficiency as a test: a pytest plugin for repositories that hold networks.

Installed with esrbench under the name ``esrbench`` and idle until ``pytest --esrbench``; see
``docs/ci.md``. Loading it costs next to nothing: what measures is imported when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from esrbench.efficiency import Efficiency

MARKER = (
    "esrbench: measures networks, so it is skipped unless pytest runs with --esrbench; tests that "
    "use the fixture efficiency are skipped without the mark, too"
)
SKIPPED = "measures networks: run pytest with --esrbench"

_MEASURED: pytest.StashKey[dict[object, object]] = pytest.StashKey()
"""What was measured in this session."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--esrbench``."""
    group = parser.getgroup("esrbench", "efficiency of super-resolution networks")
    group.addoption(
        "--esrbench",
        action="store_true",
        help="Run tests that measure networks: those with the fixture efficiency and those marked "
        "esrbench.",
    )
    group.addoption(
        "--esrbench-update",
        action="store_true",
        help="As --esrbench, but have efficiency.no_regression write its baseline files.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark, and keep what a session has measured."""
    config.addinivalue_line("markers", MARKER)
    config.stash[_MEASURED] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip marked tests that nobody asked for."""
    if _asked(config):
        return
    for item in items:
        if item.get_closest_marker("esrbench"):
            item.add_marker(pytest.mark.skip(reason=SKIPPED))


@pytest.fixture
def efficiency(request: pytest.FixtureRequest) -> Efficiency:
    """Figures of registered networks: counts, scores, comparison with a baseline, runtime.

    Needs ``pytest --esrbench``. A network of your own is known once the module that calls
    ``esrbench.register_model`` is imported, for instance by ``conftest.py``.
    """
    if not _asked(request.config):
        pytest.skip(SKIPPED)
    from esrbench.efficiency import Efficiency

    return Efficiency(request, request.config.stash[_MEASURED])


def _asked(config: pytest.Config) -> bool:
    return bool(config.getoption("esrbench") or config.getoption("esrbench_update"))
