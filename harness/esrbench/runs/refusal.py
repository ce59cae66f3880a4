"""Entries of which nothing can be told: their records say why, and the others go on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esrbench.environment import cpus_available, describe_environment
from esrbench.metrics import Findings, extract_values
from esrbench.protocol import digest_of
from esrbench.records import Absent, EntryIdentity, RunRecord, WeightsIdentity
from esrbench.runs.store import record_id

if TYPE_CHECKING:
    from esrbench.errors import EsrbenchError
    from esrbench.protocol import Protocol
    from esrbench.records import DataIdentity, FailureKind, Tier


@dataclass(frozen=True, slots=True)
class Refusal:
    """An entry that was asked for and has no figures.

    Attributes:
        name: of the entry.
        scale: upscaling factor.
        error: what is wrong with its folder, its manifest or its weights, or its answers.
        failure: what kind of failure that is.
        identity: what a record says of the entry, where its manifest could be read.
    """

    name: str
    scale: int
    error: EsrbenchError
    failure: FailureKind = "load-error"
    identity: EntryIdentity | None = None

    def record(self, data: DataIdentity, protocol: Protocol, tier: Tier) -> RunRecord:
        """The record of the entry on a data set: nothing was measured, and why.

        Args:
            data: images it would have run on.
            protocol: settings.
            tier: of the sandbox.
        """
        created = datetime.now(UTC)
        absent = Absent(
            kind="failed",
            reason=self.error.message,
            advice=self.error.advice,
            failure=self.failure,
        )
        weights = self.identity.weights if self.identity else WeightsIdentity(source="submitted")
        environment = describe_environment(
            threads=protocol.threads or cpus_available(), accelerator=None, tier=tier
        )
        identity = f"{self.name} {self.scale} {self.error.message} {data.digest} "
        return RunRecord(
            run_id=record_id(created, f"{self.name}-x{self.scale}", data.name),
            created=created,
            duration_seconds=0.0,
            fingerprint=hashlib.sha256((identity + protocol.digest()).encode()).hexdigest(),
            status=self.failure,
            cause=self.error.message,
            advice=self.error.advice,
            entry=self.identity
            or EntryIdentity(
                name=self.name,
                scale=self.scale,
                factory="unknown",
                origin=f"submissions/{self.name}",
                code_sha256=None,
                role="network",
                weights=weights,
            ),
            data=data,
            protocol=protocol,
            protocol_digest=protocol.digest(),
            environment=environment,
            environment_digest=digest_of(environment),
            complexity=absent,
            latency=absent,
            memory=absent,
            quality=absent,
            trust=absent,
            values=extract_values(Findings(weights, absent, absent, absent, absent)),
        )
