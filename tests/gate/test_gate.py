"""What is measured and raced for a check; measuring itself is canned."""

import pytest

import esrbench.gate.gate as gates
from esrbench.entries.descriptor import ModelDescriptor
from esrbench.entries.registry import Registry
from esrbench.errors import DataError, MeasurementError, UsageError
from esrbench.gate.baseline import Baseline, ratio_of
from esrbench.gate.bench import Bench, Request
from esrbench.gate.figures import COUNTS, EntryFigures, Measured, Terms, WeightsFigure
from esrbench.gate.gate import check_against, check_baseline
from esrbench.gate.update import update
from esrbench.gate.verdicts import RUNTIME
from esrbench.records import Absent

ONLY_COUNTS = frozenset({"weights", *COUNTS, RUNTIME})


class Canned:
    """Measures and races by what it was told; keeps what it was asked."""

    def __init__(self, terms, figures):
        self.terms = terms
        self.figures = dict.fromkeys(("net", "reference", "new"), figures)
        self.absent = {}
        self.races = {}
        self.measured = []
        self.raced = []

    def measure(self, subjects, _size=None):
        for subject in subjects:
            self.measured.append(subject.name)
            key = subject.name, subject.entry.scale
            found = self.figures[subject.name]
            yield Measured(*key, found, self.terms, self.absent, subject.unopened)

    def race(self, candidate, baseline, protocol, design):
        names = (candidate.descriptor.name, baseline.descriptor.name)
        self.raced.append((*names, protocol.counted_input, design.max_pairs))
        return self.races[names[0]]

    def take_over(self, monkeypatch):
        monkeypatch.setattr(Bench, "measure", self.measure)
        monkeypatch.setattr(Bench, "_raced", self.race)
        monkeypatch.setattr(gates, "terms_here", lambda kept, *_: kept)


@pytest.fixture
def canned(terms, figures, monkeypatch):
    """Every network measures what the figures say, and no weights are looked for."""
    random = WeightsFigure(source="random")
    found = Canned(terms, figures.model_copy(update={"scores": {}, "weights": random}))
    found.take_over(monkeypatch)
    return found


def make_bench(**request):
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


def checked(baseline, *, against=None, **request):
    return check_baseline(make_bench(**request), baseline, "file", against=against)


@pytest.fixture
def baseline(canned, terms, make_race):
    """Of a network, with its runtime, and of the reference."""
    bare = canned.figures["net"]
    timed = bare.model_copy(update={"runtime": ratio_of(make_race(1.8))})
    canned.races["net"] = make_race(1.8)
    return Baseline(terms={terms.digest: terms}, entries={"net x4": timed, "reference x4": bare})


def test_everything_in_the_baseline_is_checked(canned, baseline):
    report = checked(baseline)

    assert {each.verdict for each in report.findings} == {"unchanged"}
    assert canned.measured == ["net", "reference"]
    # As the baseline took it, whatever the default is, and looked at once.
    assert canned.raced == [("net", "reference", (48, 48), 120)]
    assert [each.entry for each in report.findings if each.metric == RUNTIME] == ["net"]


def test_runtime_alone_still_counts_the_reference(canned, baseline):
    report = checked(baseline, names=("net",), metrics=frozenset({RUNTIME}))
    assert [(each.metric, each.verdict) for each in report.findings] == [(RUNTIME, "unchanged")]
    assert canned.measured == ["reference"]


def test_runtime_alone_of_an_entry_without_a_ratio_says_what_to_race(canned, baseline):
    report = checked(baseline, names=("reference",), metrics=frozenset({RUNTIME}))
    found = report.findings[0]
    said = (found.verdict, found.reason)
    assert said == ("incomparable", "the baseline has no runtime ratio of it")
    assert "--baseline REVISION" in str(found.advice)
    assert (report.exit_code, canned.raced) == (3, [])
    assert report.model_copy(update={"lenient": True}).exit_code == 0


def test_another_reference_makes_ratios_incomparable(canned, baseline):
    bare = canned.figures["reference"]
    counts = {**bare.counts, "macs_aten": 1}
    canned.figures["reference"] = bare.model_copy(update={"counts": counts})

    report = checked(baseline, names=("net",))

    found = next(each for each in report.findings if each.metric == RUNTIME)
    assert (found.verdict, found.exit_code) == ("incomparable", 3)
    assert "the reference reference has changed" in found.reason
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
    canned, baseline, monkeypatch, update, said
):
    entry = baseline.entries["net x4"]
    kept = entry.runtime.model_copy(update={"sandbox": "bubblewrap"})
    entries = {**baseline.entries, "net x4": entry.model_copy(update={"runtime": kept})}
    here = kept.model_copy(update=update)
    monkeypatch.setattr(gates, "terms_here", lambda *_: here)
    device = update.get("device", "cpu")
    report = checked(
        baseline.model_copy(update={"entries": entries}),
        names=("net",),
        metrics=frozenset({RUNTIME}),
        device=device,
    )
    found = report.findings[0]
    assert (found.metric, found.verdict, found.now) == (RUNTIME, "incomparable", None)
    assert said in found.reason
    assert "--against reference" in str(found.advice)
    assert report.exit_code == 3
    assert report.model_copy(update={"lenient": True}).exit_code == 0
    assert canned.raced == []


def test_no_race_without_runtime(canned, baseline):
    report = checked(baseline, metrics=frozenset({"params"}))

    assert canned.raced == []
    assert {each.metric for each in report.findings} == {"params"}


@pytest.mark.parametrize(
    ("name", "code", "advice"),
    [("lost", 1, None), ("new", 3, "Run `esrbench baseline update`.")],
)
def test_what_one_side_alone_has_is_not_measured(canned, baseline, name, code, advice):
    """What is registered no more is a regression."""
    entries = {**baseline.entries, "lost x4": baseline.entries["reference x4"]}
    more = baseline.model_copy(update={"entries": entries})

    report = checked(more, names=(name,))

    found = [(each.metric, each.verdict, each.advice) for each in report.findings]
    assert found == [("entry", "missing", advice)]
    assert (report.exit_code, canned.measured) == (code, [])


def test_unknown_names_and_empty_baselines(baseline):
    with pytest.raises(UsageError, match="no network is registered as 'nte'"):
        checked(baseline, names=("nte",))
    with pytest.raises(UsageError, match="has no entries at these scales"):
        checked(baseline, scales=(3,))
    with pytest.raises(UsageError, match="has no entries"):
        checked(Baseline())
    with pytest.raises(UsageError, match="needs the names"):
        check_against(make_bench(), "net")


def test_a_failed_entry_is_not_raced(canned, baseline):
    canned.figures["net"] = Absent(kind="failed", reason="load-error: no")

    report = checked(baseline, names=("net",))

    assert report.exit_code == 4
    assert report.findings[0].reason == "load-error: no"


@pytest.mark.parametrize(
    ("ratio", "verdict", "code"),
    [(1.05, "regressed", 1), (1.0, "unchanged", 0), (0.8, "improved", 0)],
)
def test_against_another_network(canned, make_race, ratio, verdict, code):
    canned.races["net"] = make_race(ratio)

    report = check_against(make_bench(names=("net", "reference")), "reference")

    # The network that is raced against is not raced against itself.
    assert [(each.entry, each.verdict) for each in report.findings] == [("net", verdict)]
    assert report.exit_code == code
    assert canned.raced == [("net", "reference", (64, 64), 600)]


def test_against_takes_the_place_of_kept_ratios(canned, baseline):
    checked(baseline, names=("net",), against="reference")

    assert canned.raced == [("net", "reference", (64, 64), 600)]


def test_an_update_touches_what_was_named(canned, baseline):
    counts = {"counts": {"params": 7}}
    canned.figures["reference"] = canned.figures["net"].model_copy(update=counts)

    after = update(make_bench(names=("reference",)), baseline)

    assert after.entries["reference x4"].counts == {"params": 7}
    assert after.entries["net x4"] == baseline.entries["net x4"]
    assert canned.raced == []


def test_an_update_leaves_out_what_is_gone(baseline):
    more = {**baseline.entries, "lost x4": baseline.entries["reference x4"]}
    before = baseline.model_copy(update={"entries": more})

    assert set(update(make_bench(names=("new",)), before).entries) == {*more, "new x4"}
    assert set(update(make_bench(), before).entries) == set(baseline.entries)


def test_a_new_baseline_has_what_is_installed_at_its_largest_scale(monkeypatch):
    terms = Terms(protocol={}, software={})
    random = WeightsFigure(source="random")
    entry = EntryFigures(terms=terms.digest, weights=random, counts={"params": 1})
    Canned(terms, entry).take_over(monkeypatch)
    asked = {"metrics": frozenset({"params"})}

    new = update(make_bench(**asked), Baseline())
    assert set(new.entries) == {"net x4", "reference x4", "new x4"}
    new = update(make_bench(**asked, scales=(2,), names=("net",)), Baseline())
    assert set(new.entries) == {"net x2"}


def test_a_runtime_is_kept_where_it_does_not_differ(canned, baseline, make_race):
    kept = baseline.entries["net x4"].runtime

    def updated(ratio, **asked):
        canned.races["net"] = make_race(ratio)
        return update(make_bench(names=("net",), **asked), baseline).entries["net x4"].runtime

    assert updated(1.85) == kept
    assert updated(2.5).ratio == pytest.approx(2.5, rel=0.011)
    assert updated(2.5, metrics=ONLY_COUNTS - {RUNTIME}) == kept


def test_a_new_reference_is_an_entry_too(canned, terms, make_race):
    canned.races["new"] = make_race(1.2, names=("new", "reference"))
    bench = make_bench(names=("new",), race_size=(32, 32))

    after = update(bench, Baseline(), reference="reference")

    assert set(after.entries) == {"new x4", "reference x4"}
    assert canned.raced == [("new", "reference", (32, 32), 120)]
    assert after.entries["new x4"].runtime is not None
    assert after.entries["reference x4"].runtime is None
    assert set(after.terms) == {terms.digest}


def test_nothing_is_kept_of_a_noisy_race(canned, baseline, make_race):
    canned.races["net"] = make_race(1.8, self_half=0.05)

    with pytest.raises(MeasurementError, match="too noisy"):
        update(make_bench(names=("net",)), baseline)


def test_a_failure_is_not_kept(canned, baseline):
    canned.absent = {(None, "params"): Absent(kind="failed", reason="it raised")}
    with pytest.raises(MeasurementError, match="net x4 params: it raised"):
        update(make_bench(names=("net",)), baseline)

    canned.figures["net"] = Absent(kind="failed", reason="load-error: no")
    with pytest.raises(MeasurementError, match="net x4: load-error: no"):
        update(make_bench(names=("net",)), baseline)


def test_images_that_are_not_here_stop_an_update(canned, baseline, figures):
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
