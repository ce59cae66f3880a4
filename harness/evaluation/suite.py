"""The efficiency suite: every entry on every data set, each record stored as it is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.catalog.datasets import open_dataset, parse_data_spec
from harness.catalog.networks import resolve_weights
from harness.evaluation.evaluator import STEPS_BESIDE_IMAGES, Entry, measure_entry
from harness.isolation.session import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness.catalog.datasets import ImagePairs
    from harness.catalog.networks import WeightsChoice
    from harness.catalog.registry import Registry
    from harness.protocol import Protocol
    from harness.records import DataIdentity, RunRecord
    from harness.store import Store


@dataclass(frozen=True, slots=True)
class Suite:
    """What will run: entries in order on data sets in order, all checked beforehand."""

    entries: tuple[Entry, ...]
    data: tuple[tuple[ImagePairs, DataIdentity], ...]
    protocol: Protocol

    @property
    def steps(self) -> int:
        """Steps of the whole suite, for progress."""
        images = sum(len(pairs.pairs) for pairs, _ in self.data)
        return len(self.entries) * (images + len(self.data) * STEPS_BESIDE_IMAGES)


def plan_entries(
    registry: Registry,
    names: Sequence[str],
    scale: int,
    weights: Mapping[str, WeightsChoice],
) -> tuple[Entry, ...]:
    """Resolve names and weights before anything runs.

    Args:
        registry: where names are looked up.
        names: of networks; a repeated one counts once.
        scale: upscaling factor.
        weights: by name; networks left out take ``auto``.

    Raises:
        UsageError: an unknown name or scale.
        WeightsError: a weights file that is missing or altered.
    """
    entries: list[Entry] = []
    for name in dict.fromkeys(names):
        descriptor = registry.get(name)
        descriptor.require_scale(scale)
        resolved = resolve_weights(descriptor, scale, weights.get(name, "auto"))
        entries.append(Entry(descriptor, scale, resolved))
    return tuple(entries)


def open_data(spec: str, scale: int) -> tuple[ImagePairs, DataIdentity]:
    """Open and check a data set before anything runs.

    Args:
        spec: ``NAME``, ``PATH`` or ``NAME=PATH``.
        scale: upscaling factor.

    Raises:
        UsageError: unknown name.
        DataError: images are missing or may not be measured on; all problems are listed.
    """
    name, root = parse_data_spec(spec)
    pairs = open_dataset(name, scale, root=root)
    return pairs, pairs.identity()


def run_suite(
    suite: Suite,
    store: Store,
    *,
    on_step: Callable[[str, str], None] = lambda _entry, _step: None,
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Iterator[RunRecord]:
    """Measure and store one record after the other.

    Args:
        suite: the plan.
        store: where each record goes before the next entry starts.
        on_step: told entry and step as each step begins.
        timeout_seconds: deadline of each request to a worker.

    Yields:
        Each record once it is stored.

    Raises:
        RecordError: a record cannot be stored; those before it are.
    """
    for pairs, data in suite.data:
        for entry in suite.entries:
            name = entry.descriptor.name
            record = measure_entry(
                entry,
                pairs,
                data,
                suite.protocol,
                on_step=lambda step, name=name: on_step(name, step),  # type: ignore[misc]
                timeout_seconds=timeout_seconds,
            )
            store.put(record)
            yield record
