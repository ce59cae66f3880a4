"""Records of measurements: raw samples, summaries, identity, and what is absent and why.

Durations are seconds, sizes are bytes, FLOPs are multiply-accumulates (``macs``).
"""
# ruff: noqa: I001 - it would import each exported name by itself

from esrbench.records.backends import (
    BackendFigures as BackendFigures,
    BackendRecord as BackendRecord,
)
from esrbench.records.counts import (
    Audit as Audit,
    Block as Block,
    Complexity as Complexity,
    CounterResult as CounterResult,
    PredictedMemory as PredictedMemory,
    Recount as Recount,
    SizedCount as SizedCount,
    outermost as outermost,
    unknown_cost as unknown_cost,
)
from esrbench.records.decision import (
    Action as Action,
    Decision as Decision,
)
from esrbench.records.deployment import (
    Deployment as Deployment,
    Equality as Equality,
    Graph as Graph,
)
from esrbench.records.energy import Energy as Energy
from esrbench.records.energy import EnergyWindow as EnergyWindow
from esrbench.records.machine import (
    MACHINE as MACHINE,
    STATES as STATES,
    Diagnosis as Diagnosis,
    Examination as Examination,
    State as State,
)
from esrbench.records.race import (
    PairedBatch as PairedBatch,
    PairedEstimate as PairedEstimate,
    PairedProcess as PairedProcess,
    RaceRecord as RaceRecord,
    RaceSide as RaceSide,
    RaceVerdict as RaceVerdict,
)
from esrbench.records.run import (
    MAX_LISTED as MAX_LISTED,
    NO_SUCH_METRIC as NO_SUCH_METRIC,
    RANKED_STATUSES as RANKED_STATUSES,
    SCHEMA_VERSION as SCHEMA_VERSION,
    DataIdentity as DataIdentity,
    EntryIdentity as EntryIdentity,
    Environment as Environment,
    ImageScore as ImageScore,
    LoadedBy as LoadedBy,
    Quality as Quality,
    Role as Role,
    RunRecord as RunRecord,
    Software as Software,
    Status as Status,
    Tier as Tier,
    WeightsIdentity as WeightsIdentity,
    WeightsLayout as WeightsLayout,
    first_failure as first_failure,
)
from esrbench.records.tabular import Tabular as Tabular
from esrbench.records.timing import (
    BaselineTimes as BaselineTimes,
    Conditions as Conditions,
    ImageMemory as ImageMemory,
    Latency as Latency,
    LatencySamples as LatencySamples,
    Memory as Memory,
    NullSamples as NullSamples,
    Replicate as Replicate,
    Trust as Trust,
    VariantScores as VariantScores,
)
from esrbench.records.values import (
    Absent as Absent,
    Count as Count,
    FailureKind as FailureKind,
    Interval as Interval,
    Notice as Notice,
    Seconds as Seconds,
    Sha256 as Sha256,
    Value as Value,
    required as required,
)
