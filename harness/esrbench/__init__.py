"""esrbench: how efficient is a super-resolution network.

The names below are the Python interface. Each is loaded on first use, so that importing this
package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from esrbench.version import __version__ as __version__

if TYPE_CHECKING:
    from esrbench.api import (
        compare,
        complexity,
        evaluate,
        latency,
        leaderboard,
        load_model,
        race,
        run,
    )
    from esrbench.data.datasets import open_dataset
    from esrbench.entries.descriptor import ModelDescriptor, PublishedFigure, ReleasedWeights
    from esrbench.entries.registry import register_model
    from esrbench.errors import (
        DataError,
        EsrbenchError,
        MeasurementError,
        RecordError,
        RegistrationError,
        UsageError,
        WeightsError,
    )
    from esrbench.protocol import (
        ForwardPolicy,
        LatencyDesign,
        PairDesign,
        Protocol,
        QualityDefinition,
    )
    from esrbench.records import (
        Absent,
        Complexity,
        Interval,
        Notice,
        Quality,
        RaceRecord,
        RunRecord,
        Value,
    )
    from esrbench.runs.documents import read_any
    from esrbench.runs.store import Store

__all__ = [
    "Absent",
    "Complexity",
    "DataError",
    "EsrbenchError",
    "ForwardPolicy",
    "Interval",
    "LatencyDesign",
    "MeasurementError",
    "ModelDescriptor",
    "Notice",
    "PairDesign",
    "Protocol",
    "PublishedFigure",
    "Quality",
    "QualityDefinition",
    "RaceRecord",
    "RecordError",
    "RegistrationError",
    "ReleasedWeights",
    "RunRecord",
    "Store",
    "UsageError",
    "Value",
    "WeightsError",
    "compare",
    "complexity",
    "evaluate",
    "latency",
    "leaderboard",
    "load_model",
    "open_dataset",
    "race",
    "read_any",
    "register_model",
    "run",
]

_SOURCES = (
    "errors",
    "protocol",
    "records",
    "entries.descriptor",
    "entries.registry",
    "runs.documents",
    "runs.store",
    "data.datasets",
    "api",
)
"""Modules that define the names, the cheapest first: registering must not import what measures."""


def __getattr__(name: str) -> Any:
    """Load a public name from where it is defined."""
    if name == "figures":  # it needs matplotlib, so that nothing else must find names in it
        return importlib.import_module("esrbench.figures")
    if name in __all__:
        for source in _SOURCES:
            found = getattr(importlib.import_module(f"esrbench.{source}"), name, None)
            if callable(found):  # esrbench.records.race is a module
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return [*__all__, "figures", *(name for name in globals() if name.startswith("__"))]
