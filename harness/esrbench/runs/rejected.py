"""Entries that cannot be measured: their records say why, and the suite continues."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from esrbench.records import Absent, EntryIdentity, WeightsIdentity
from esrbench.runs.assembly import assemble
from esrbench.runs.fingerprint import expected_environment
from esrbench.runs.passes import Pass, UntimedPass
from esrbench.runs.store import record_id

if TYPE_CHECKING:
    from esrbench.errors import EsrbenchError
    from esrbench.protocol import Protocol
    from esrbench.records import DataIdentity, FailureKind, RunRecord, Tier


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """A requested entry without figures.

    Attributes:
        name: name of the entry.
        scale: upscaling factor.
        error: the error in its folder, its manifest, its weights or its answers.
        failure: kind of failure.
        identity: identity of the entry in its record, if its manifest could be read.
    """

    name: str
    scale: int
    error: EsrbenchError
    failure: FailureKind = "load-error"
    identity: EntryIdentity | None = None

    def fingerprint(self, data: DataIdentity, protocol: Protocol) -> str:
        """SHA-256 (hex) of the facts in its record."""
        said = f"{self.name} {self.scale} {self.error.message} {data.digest} {protocol.digest()}"
        return hashlib.sha256(said.encode()).hexdigest()

    def record(self, data: DataIdentity, protocol: Protocol, tier: Tier) -> RunRecord:
        """The record of the entry on a data set; arguments as of ``untimed``."""
        return assemble(self.untimed(data, protocol, tier))

    def untimed(self, data: DataIdentity, protocol: Protocol, tier: Tier) -> Pass[UntimedPass]:
        """The pass of the entry on a data set: it says why nothing was measured.

        Args:
            data: images it would have run on.
            protocol: settings.
            tier: tier of the sandbox.
        """
        created = datetime.now(UTC)
        absent = Absent(
            kind="failed",
            reason=self.error.message,
            advice=self.error.advice,
            failure=self.failure,
        )
        identity = self.identity or EntryIdentity(
            name=self.name,
            scale=self.scale,
            factory="unknown",
            origin=f"submissions/{self.name}",
            code_sha256=None,
            role="network",
            weights=WeightsIdentity(source="submitted"),
        )
        untimed = UntimedPass(
            weights=identity.weights, quality=absent, memory=absent, complexity=absent
        )
        return Pass[UntimedPass](
            run_id=record_id(created, f"{self.name}-x{self.scale}", data.name),
            fingerprint=self.fingerprint(data, protocol),
            entry=identity,
            data=data,
            protocol=protocol,
            environment=expected_environment(protocol, tier),
            session="",
            created=created,
            seconds=0.0,
            found=untimed,
        )
