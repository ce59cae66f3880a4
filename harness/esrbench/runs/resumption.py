"""Run a suite, all of it or what an earlier one has left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from esrbench.errors import RecordError
from esrbench.runs.fingerprint import fingerprint
from esrbench.runs.journal import Journal
from esrbench.runs.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from esrbench.data.datasets import ImagePairs
    from esrbench.records import DataIdentity, Notice, RunRecord
    from esrbench.runs.refusal import Refusal
    from esrbench.runs.store import Store
    from esrbench.runs.suite import Suite

UNFINISHED = frozenset({"interrupted", "infra-error", "busy-machine"})
"""Statuses of runs that are to be made again."""


@dataclass(slots=True)
class Resumption:
    """A suite under way, begun now or before; fields as of ``run_suite``."""

    suite: Suite
    store: Store
    on_step: Callable[[str, str], None]
    on_known: Callable[[RunRecord], None]
    on_notice: Callable[[Notice], None]
    timeout_seconds: float
    entry_seconds: float

    def run(self, *, resume: bool) -> Iterator[RunRecord]:
        """Records as they are stored; those that were there are told to ``on_known``."""
        suite, tier = self.suite, self.suite.launcher.sandbox.tier
        # As files are before anything runs.
        fingerprints = {
            data.digest: {
                entry.descriptor.name: fingerprint(entry, data, suite.protocol, tier)
                for entry in suite.entries
            }
            for _, data in suite.data
        }
        made = self._made() if resume else {}
        stored = {each.fingerprint: each for each in made.values() if each.status not in UNFINISHED}
        journal = self._journal(fingerprints, stored, resume=resume)
        for pairs, data in suite.data:
            yield from self._refused(data, journal, stored)
            yield from self._measured(
                pairs, data, fingerprints[data.digest], journal, stored, made=made
            )
        journal.end()

    def _made(self) -> dict[str, RunRecord]:
        """All records that are stored, by the id of their run, oldest first."""
        records, notices = self.store.load()
        for notice in notices:
            self.on_notice(notice)
        return {each.run_id: each for each in records}

    def _journal(
        self,
        fingerprints: Mapping[str, Mapping[str, str]],
        stored: Mapping[str, RunRecord],
        *,
        resume: bool,
    ) -> Journal:
        if resume:
            found = Journal.find(self.suite, self.store, on_notice=self.on_notice)
            if found is not None:
                return found
        ours = {one for of_data in fingerprints.values() for one in of_data.values()}
        ours |= {
            self._refusal(each, data).fingerprint
            for each in self.suite.refusals
            for _, data in self.suite.data
        }
        known = set() if self.suite.sr_folder else ours & set(stored)
        return Journal.begin(self.suite, self.store, known, on_notice=self.on_notice)

    def _refused(
        self, data: DataIdentity, journal: Journal, stored: Mapping[str, RunRecord]
    ) -> Iterator[RunRecord]:
        for refusal in self.suite.refusals:
            record = self._refusal(refusal, data)
            before = stored.get(record.fingerprint)
            if before is not None and (
                before.fingerprint in journal.beginning.known
                or before.created >= journal.beginning.created
            ):
                self.on_known(before)
                continue
            self.store.put(record)
            yield record

    def _refusal(self, refusal: Refusal, data: DataIdentity) -> RunRecord:
        return refusal.record(data, self.suite.protocol, self.suite.launcher.sandbox.tier)

    def _measured(
        self,
        pairs: ImagePairs,
        data: DataIdentity,
        fingerprints: Mapping[str, str],
        journal: Journal,
        stored: Mapping[str, RunRecord],
        *,
        made: Mapping[str, RunRecord],
    ) -> Iterator[RunRecord]:
        suite = self.suite
        before = {
            name: stored[one]
            for name, one in fingerprints.items()
            if one in journal.beginning.known and one in stored
        }
        left = set(fingerprints) - set(before)
        if left and suite.baseline is not None:
            # Runtimes are set in relation to the baseline's of the same rounds.
            left.add(suite.baseline)
        for name, record in before.items():
            if name not in left:
                self.on_known(record)
        if not left:
            return
        entries = tuple(entry for entry in suite.entries if entry.descriptor.name in left)
        rounds = Rounds(
            replace(suite, entries=entries),
            pairs,
            data,
            fingerprints=fingerprints,
            journal=journal,
            on_step=self.on_step,
            timeout_seconds=self.timeout_seconds,
            entry_seconds=self.entry_seconds,
        )
        try:
            for record in rounds.run():
                if made.get(record.run_id) == record:
                    self.on_known(record)
                    continue
                self.store.put(record)
                yield record
        except BaseException:
            # Ctrl-C, a full disk or an image that changed: hours of other entries are kept.
            for record in rounds.unfinished():
                with suppress(RecordError):
                    self.store.put(record)
            raise
