"""Digest of everything that decides what a run measures, computed before anything runs."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.entries.sources import source_sha256
from esrbench.environment import cpus_available, describe_environment
from esrbench.protocol import digest_of
from esrbench.records import Environment

if TYPE_CHECKING:
    from esrbench.protocol import Protocol
    from esrbench.records import DataIdentity, Tier
    from esrbench.runs.evaluator import Entry


def expected_environment(protocol: Protocol, tier: Tier) -> Environment:
    """The environment of a run, as far as it is known before a worker has started.

    Args:
        protocol: settings.
        tier: tier of the sandbox.
    """
    threads = protocol.threads or cpus_available()
    return describe_environment(threads=threads, accelerator=None, tier=tier)


def anywhere(environment: Environment) -> Environment:
    """The software of an environment, which all machines of a suite must share."""
    return Environment(
        python=environment.python,
        esrbench=environment.esrbench,
        packages=environment.packages,
        system="any",
        cpu="any",
        cpus_available=environment.threads,
        threads=environment.threads,
        memory_bytes=None,
        accelerator=None,
        malloc={},
        isolation=environment.isolation,
    )


def fingerprint(
    entry: Entry, data: DataIdentity, protocol: Protocol, environment: Environment, gpu: int = 0
) -> str:
    """SHA-256 (hex) over entry, source files, weights, data, protocol, harness and machine.

    Args:
        entry: network and weights.
        data: images.
        protocol: settings.
        environment: machine and software.
        gpu: number of the GPU, if the protocol asks for one.
    """
    parts = {
        # The name of an entry in tables and figures does not change what is measured.
        "entry": entry.descriptor.model_dump(
            mode="json", exclude={"display_name": True, "paper": {"key"}}
        ),
        "scale": entry.scale,
        "source": source_sha256(entry.descriptor),
        "weights": entry.weights.identity.sha256 or entry.weights.identity.source,
        "data": data.digest,
        "protocol": protocol.digest(),
        "harness": harness_sha256(),
        "environment": digest_of(environment),
        "gpu": gpu,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def harness_sha256() -> str:
    """SHA-256 (hex) over the names and contents of the harness's own source files."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root).as_posix()}\0{content}\0".encode())
    return digest.hexdigest()
