"""One network by one backend beside eager torch: a row of ``compare --backends``."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from esrbench.protocol import Frozen, PairDesign, Protocol
from esrbench.records.deployment import Deployment
from esrbench.records.race import PairedEstimate
from esrbench.records.run import SCHEMA_VERSION, DataIdentity, EntryIdentity, Environment
from esrbench.records.values import Absent, Count, Sha256


class BackendFigures(Frozen):
    """The result of a backend for one network.

    Attributes:
        network: registered name.
        backend: its name.
        precision: of its forward, and what of the network keeps another.
        deployment: its SR, graph and options; absent with the reason where it cannot run.
        ratio: its time over eager torch's, of pairs of forwards in one process.
        peak_bytes: most resident memory of its worker, PyTorch and the network's code included,
            for one forward at the fixed input; None where the system does not tell.
    """

    network: str
    backend: str
    precision: str = "fp32"
    deployment: Deployment | Absent
    ratio: PairedEstimate | Absent
    peak_bytes: Count | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing failed, so that measuring it again would bring nothing new."""
        return (
            isinstance(self.deployment, Deployment)
            and not isinstance(self.deployment.equality, Absent)
            and isinstance(self.ratio, PairedEstimate)
        )


class BackendRecord(Frozen):
    """A row as it is stored: what was measured, by what and where.

    Attributes:
        fingerprint: digest of all that decides the figures; the name of the file.
        created: when it was measured.
        entry: network and weights.
        data: images on which SR was compared.
        protocol: settings; the backend is among them.
        design: of the pairs.
        environment: machine and software, the backend's libraries included.
        figures: the row.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    fingerprint: Sha256
    created: datetime
    entry: EntryIdentity
    data: DataIdentity
    protocol: Protocol
    design: PairDesign
    environment: Environment
    figures: BackendFigures
