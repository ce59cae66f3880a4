"""What is measured and raced for a check; measuring itself is canned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import esrbench.gate.bench as benches
import esrbench.gate.gate as gates
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.registry import Registry
from esrbench.environment import cpus_available
from esrbench.errors import DataError, MeasurementError, UsageError
from esrbench.gate.baseline import Baseline, ratio_of
from esrbench.gate.bench import Bench, Request
from esrbench.gate.figures import COUNTS, EntryFigures, Measured, Terms, WeightsFigure
from esrbench.gate.gate import check_against, check_baseline
from esrbench.gate.runtime import terms_here
from esrbench.gate.update import update
from esrbench.gate.verdicts import RUNTIME
from esrbench.records import Absent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from esrbench.gate.measurement import Subject
    from esrbench.protocol import PairDesign, Protocol
    from esrbench.records import RaceRecord
    from esrbench.runs.evaluator import Entry

ONLY_COUNTS = frozenset({"weights", *COUNTS, RUNTIME})


class Canned:
    """Measures and races by what it was told; keeps what it was asked."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.figures: dict[str, EntryFigures | Absent] = {}
        self.absent: dict[tuple[str | None, str], Absent] = {}
        self.races: dict[str, RaceRecord | Absent] = {}
        self.measured: list[str] = []
        self.raced: list[tuple[str, str, tuple[int, int], int]] = []

    def measure(
        self, subjects: Sequence[Subject], _protocol: Protocol, **_: object
    ) -> Iterator[Measured]:
        for subject in subjects:
            self.measured.append(subject.name)
            found = self.figures[subject.name]
            yield Measured(
                subject.name, subject.entry.scale, found, self.terms, self.absent, subject.unopened
            )

    def race(
        self, candidate: Entry, baseline: Entry, protocol: Protocol, design: PairDesign, **_: object
    ) -> RaceRecord | Absent:
        names = (candidate.descriptor.name, baseline.descriptor.name)
        self.raced.append((*names, protocol.counted_input, design.max_pairs))
        return self.races[names[0]]


@pytest.fixture
def canned(terms: Terms, figures: EntryFigures, monkeypatch: pytest.MonkeyPatch) -> Canned:
    """Every network measures what the figures say, and no weights are looked for."""
    found = Canned(terms)
    bare = figures.model_copy(update={"scores": {}, "weights": WeightsFigure(source="random")})
    found.figures = dict.fromkeys(("net", "reference", "new"), bare)
    monkeypatch.setattr(benches, "measure", found.measure)
    monkeypatch.setattr(benches, "race_entries", found.race)
    monkeypatch.setattr(gates, "terms_here", lambda kept, _threads: kept)
    return found


def make_bench(**request: Any) -> Bench:
    registry = Registry()
    registry.add(
        [
            ModelDescriptor(name=name, summary=name, scales=(2, 4), factory=f"somewhere:{name}")
            for name in ("net", "reference", "new")
        ],
        origin="tests",
    )
    submitted = {"folder": "/somewhere", "name": "submitted"}
    registry.add([registry.get("new").model_copy(update=submitted)], origin="a submission")
    return Bench(registry, Request(**{"metrics": ONLY_COUNTS, **request}))


@pytest.fixture
def baseline(canned: Canned, terms: Terms, make_race: Callable[..., RaceRecord]) -> Baseline:
    """Of a network, with its runtime, and of the reference."""
    bare = canned.figures["net"]
    assert isinstance(bare, EntryFigures)
    timed = bare.model_copy(update={"runtime": ratio_of(make_race(1.8))})
    entries = {"net x4": timed, "reference x4": bare}
    canned.races["net"] = make_race(1.8)
    return Baseline(terms={terms.digest: terms}, entries=entries)


def test_everything_in_the_baseline_is_checked(canned: Canned, baseline: Baseline) -> None:
    report = check_baseline(make_bench(), baseline, "file")

    assert {each.verdict for each in report.findings} == {"unchanged"}
    assert canned.measured == ["net", "reference"]
    # As the baseline took it, whatever the default is, and looked at once.
    assert canned.raced == [("net", "reference", (48, 48), 120)]
    assert [each.entry for each in report.findings if each.metric == RUNTIME] == ["net"]


def test_runtime_alone_still_counts_the_reference(canned: Canned, baseline: Baseline) -> None:
    bench = make_bench(names=("net",), metrics=frozenset({RUNTIME}))

    report = check_baseline(bench, baseline, "file")

    assert [(each.metric, each.verdict) for each in report.findings] == [(RUNTIME, "unchanged")]
    assert canned.measured == ["reference"]


def test_runtime_alone_of_an_entry_without_a_ratio_says_what_to_race(
    canned: Canned, baseline: Baseline
) -> None:
    bench = make_bench(names=("reference",), metrics=frozenset({RUNTIME}))

    report = check_baseline(bench, baseline, "file")

    found = report.findings[0]
    assert (found.verdict, found.reason) == (
        "incomparable",
        "the baseline keeps no ratio of its runtime",
    )
    assert "--baseline REVISION" in str(found.advice)
    assert (report.exit_code, canned.raced) == (3, [])
    assert report.model_copy(update={"lenient": True}).exit_code == 0


def test_another_reference_makes_ratios_incomparable(canned: Canned, baseline: Baseline) -> None:
    bare = canned.figures["reference"]
    assert isinstance(bare, EntryFigures)
    counts = {**bare.counts, "macs_aten": 1}
    canned.figures["reference"] = bare.model_copy(update={"counts": counts})

    report = check_baseline(make_bench(names=("net",)), baseline, "file")

    found = next(each for each in report.findings if each.metric == RUNTIME)
    assert (found.verdict, found.exit_code) == ("incomparable", 3)
    assert "reference is another" in found.reason
    assert canned.raced == []


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"machine": "Intel Xeon"}, "machine: a processor then, Intel Xeon now"),
        ({"threads": 64}, "threads: 2 then, 64 now"),
        ({"torch": "9.9.9"}, "torch: 2.13.0 then, 9.9.9 now"),
        ({"sandbox": "landlock"}, "then, landlock now"),
        ({"device": "cuda"}, "device: cpu then, cuda now"),
    ],
)
def test_a_ratio_of_another_machine_is_not_raced_but_incomparable(
    canned: Canned,
    baseline: Baseline,
    monkeypatch: pytest.MonkeyPatch,
    update: dict[str, object],
    said: str,
) -> None:
    entry = baseline.entries["net x4"]
    assert entry.runtime is not None
    kept = entry.runtime.model_copy(update={"sandbox": "bubblewrap"})
    entries = {**baseline.entries, "net x4": entry.model_copy(update={"runtime": kept})}
    here = kept.model_copy(update=update)
    monkeypatch.setattr(gates, "terms_here", lambda _kept, _threads: here)
    bench = make_bench(
        names=("net",), metrics=frozenset({RUNTIME}), device=str(update.get("device", "cpu"))
    )

    report = check_baseline(bench, baseline.model_copy(update={"entries": entries}), "file")

    found = report.findings[0]
    assert (found.metric, found.verdict, found.now) == (RUNTIME, "incomparable", None)
    assert said in found.reason
    assert "--against reference" in str(found.advice)
    assert report.exit_code == 3
    assert report.model_copy(update={"lenient": True}).exit_code == 0
    assert canned.raced == []


def test_fewer_cpus_than_a_kept_ratio_had_are_other_terms(
    baseline: Baseline,
) -> None:
    """It is not an error of usage: nobody asked for threads that this machine lacks."""
    kept = baseline.entries["net x4"].runtime
    assert kept is not None
    many = kept.model_copy(update={"threads": 4096})

    assert terms_here(many, None).threads == cpus_available()
    assert terms_here(many, 1).threads == 1


def test_no_race_without_runtime(canned: Canned, baseline: Baseline) -> None:
    report = check_baseline(make_bench(metrics=frozenset({"params"})), baseline, "file")

    assert canned.raced == []
    assert {each.metric for each in report.findings} == {"params"}


def test_what_is_registered_no_more_is_a_regression(baseline: Baseline) -> None:
    gone = baseline.model_copy(
        update={"entries": {**baseline.entries, "lost x4": baseline.entries["net x4"]}}
    )

    report = check_baseline(make_bench(names=("lost",)), gone, "file")

    assert [(each.metric, each.verdict) for each in report.findings] == [("entry", "missing")]
    assert report.exit_code == 1


def test_what_the_baseline_lacks_is_not_measured(canned: Canned, baseline: Baseline) -> None:
    report = check_baseline(make_bench(names=("new",)), baseline, "file")

    assert [(each.metric, each.verdict) for each in report.findings] == [("entry", "missing")]
    assert (report.exit_code, canned.measured) == (3, [])
    assert report.findings[0].advice == "Run `esrbench baseline update new`."


def test_unknown_names_and_empty_baselines(baseline: Baseline) -> None:
    with pytest.raises(UsageError, match="no network is registered as 'nte'"):
        check_baseline(make_bench(names=("nte",)), baseline, "file")
    with pytest.raises(UsageError, match="has no entries at these scales"):
        check_baseline(make_bench(scales=(3,)), baseline, "file")
    with pytest.raises(UsageError, match="has no entries"):
        check_baseline(make_bench(), Baseline(), "file")
    with pytest.raises(UsageError, match="needs the names"):
        check_against(make_bench(), "net")


def test_a_failed_entry_is_not_raced(canned: Canned, baseline: Baseline) -> None:
    canned.figures["net"] = Absent(kind="failed", reason="load-error: no")

    report = check_baseline(make_bench(names=("net",)), baseline, "file")

    assert report.exit_code == 4
    assert report.findings[0].reason == "load-error: no"


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [(1.05, "regressed", 1), (1.0, "unchanged", 0), (0.8, "improved", 0)],
)
def test_against_another_network(
    canned: Canned, make_race: Callable[..., RaceRecord], ratio: float, verdict: str, code: int
) -> None:
    canned.races["net"] = make_race(ratio)

    report = check_against(make_bench(names=("net", "reference")), "reference")

    # The network that is raced against is not raced against itself.
    assert [(each.entry, each.verdict) for each in report.findings] == [("net", verdict)]
    assert report.exit_code == code
    assert canned.raced == [("net", "reference", (64, 64), 600)]


def test_against_takes_the_place_of_kept_ratios(
    canned: Canned, baseline: Baseline, make_race: Callable[..., RaceRecord]
) -> None:
    canned.races["net"] = make_race(1.0)

    check_baseline(make_bench(names=("net",)), baseline, "file", against="reference")

    assert canned.raced == [("net", "reference", (64, 64), 600)]


def test_an_update_touches_what_was_named(canned: Canned, baseline: Baseline) -> None:
    bare = canned.figures["net"]
    assert isinstance(bare, EntryFigures)
    canned.figures["reference"] = bare.model_copy(update={"counts": {"params": 7}})

    after = update(make_bench(names=("reference",)), baseline)

    assert after.entries["reference x4"].counts == {"params": 7}
    assert after.entries["net x4"] == baseline.entries["net x4"]
    assert canned.raced == []


def test_an_update_leaves_out_what_is_gone(baseline: Baseline) -> None:
    more = {**baseline.entries, "lost x4": baseline.entries["reference x4"]}
    before = baseline.model_copy(update={"entries": more})

    assert set(update(make_bench(names=("new",)), before).entries) == {*more, "new x4"}
    assert set(update(make_bench(), before).entries) == set(baseline.entries)


def test_a_new_baseline_has_what_is_installed_at_its_largest_scale() -> None:
    bench = make_bench(metrics=frozenset({"params"}))
    with pytest.MonkeyPatch.context() as patch:
        terms = Terms(protocol={}, software={})
        canned = Canned(terms)
        entry = EntryFigures(
            terms=terms.digest, weights=WeightsFigure(source="random"), counts={"params": 1}
        )
        canned.figures = dict.fromkeys(("net", "reference", "new"), entry)
        patch.setattr(benches, "measure", canned.measure)

        assert set(update(bench, Baseline()).entries) == {"net x4", "reference x4", "new x4"}
        again = make_bench(metrics=frozenset({"params"}), scales=(2,), names=("net",))
        assert set(update(again, Baseline()).entries) == {"net x2"}


def test_a_runtime_is_kept_where_it_does_not_differ(
    canned: Canned, baseline: Baseline, make_race: Callable[..., RaceRecord]
) -> None:
    kept = baseline.entries["net x4"].runtime
    canned.races["net"] = make_race(1.85)
    assert update(make_bench(names=("net",)), baseline).entries["net x4"].runtime == kept

    canned.races["net"] = make_race(2.5)
    now = update(make_bench(names=("net",)), baseline).entries["net x4"].runtime
    assert now is not None
    assert now.ratio == pytest.approx(2.5, rel=0.011)

    off = make_bench(names=("net",), metrics=ONLY_COUNTS - {RUNTIME})
    assert update(off, baseline).entries["net x4"].runtime == kept


def test_a_new_reference_is_an_entry_too(
    canned: Canned, terms: Terms, make_race: Callable[..., RaceRecord]
) -> None:
    canned.races["new"] = make_race(1.2, names=("new", "reference"))
    bench = make_bench(names=("new",), race_size=(32, 32))

    after = update(bench, Baseline(), reference="reference")

    assert set(after.entries) == {"new x4", "reference x4"}
    assert canned.raced == [("new", "reference", (32, 32), 120)]
    assert after.entries["new x4"].runtime is not None
    assert after.entries["reference x4"].runtime is None
    assert set(after.terms) == {terms.digest}


def test_nothing_is_kept_of_a_noisy_race(
    canned: Canned, baseline: Baseline, make_race: Callable[..., RaceRecord]
) -> None:
    canned.races["net"] = make_race(1.8, self_half=0.05)

    with pytest.raises(MeasurementError, match="too noisy"):
        update(make_bench(names=("net",)), baseline)


def test_a_failure_is_not_kept(canned: Canned, baseline: Baseline) -> None:
    canned.absent = {(None, "params"): Absent(kind="failed", reason="it raised")}
    with pytest.raises(MeasurementError, match="net x4 params: it raised"):
        update(make_bench(names=("net",)), baseline)

    canned.figures["net"] = Absent(kind="failed", reason="load-error: no")
    with pytest.raises(MeasurementError, match="net x4: load-error: no"):
        update(make_bench(names=("net",)), baseline)


def test_images_that_are_not_here_stop_an_update(
    canned: Canned, baseline: Baseline, figures: EntryFigures
) -> None:
    """Or the scores would vanish from the file without a word."""
    floor = ModelDescriptor(
        name="floor", summary="floor", scales=(4,), factory="somewhere:floor", role="floor"
    )
    bench = make_bench(names=("floor",), metrics=frozenset({"psnr_y"}))
    bench.registry.add([floor], origin="tests")
    set14 = {"set14": figures.scores["demo"]}
    scored = figures.model_copy(update={"weights": WeightsFigure(source="none"), "scores": set14})
    before = baseline.model_copy(update={"entries": {"floor x4": scored}})

    with pytest.raises(DataError, match="floor x4: set14 cannot be opened here"):
        update(bench, before)
    assert canned.measured == []
