"""What measurements leave behind: raw samples, summaries, identity, and what is absent and why.

Durations are seconds, sizes are bytes, FLOPs are multiply-accumulates (``macs``).
"""

from harness.records.counts import (
    Audit,
    Block,
    Complexity,
    CounterResult,
    PredictedMemory,
    SizedCount,
)
from harness.records.race import (
    PairedBatch,
    PairedEstimate,
    PairedProcess,
    RaceRecord,
    RaceVerdict,
)
from harness.records.run import (
    SCHEMA_VERSION,
    DataIdentity,
    EntryIdentity,
    Environment,
    ImageScore,
    Quality,
    RunRecord,
    WeightsIdentity,
)
from harness.records.timing import (
    BaselineTimes,
    Conditions,
    ImageMemory,
    Latency,
    LatencySamples,
    Memory,
    Replicate,
)
from harness.records.values import Absent, Count, Interval, Notice, Seconds, Sha256, Value

__all__ = [
    "SCHEMA_VERSION",
    "Absent",
    "Audit",
    "BaselineTimes",
    "Block",
    "Complexity",
    "Conditions",
    "Count",
    "CounterResult",
    "DataIdentity",
    "EntryIdentity",
    "Environment",
    "ImageMemory",
    "ImageScore",
    "Interval",
    "Latency",
    "LatencySamples",
    "Memory",
    "Notice",
    "PairedBatch",
    "PairedEstimate",
    "PairedProcess",
    "PredictedMemory",
    "Quality",
    "RaceRecord",
    "RaceVerdict",
    "Replicate",
    "RunRecord",
    "Seconds",
    "Sha256",
    "SizedCount",
    "Value",
    "WeightsIdentity",
]
