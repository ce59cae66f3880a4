import pytest

from esrbench.entries.registry import Registry, default_registry
from esrbench.errors import UsageError
from esrbench.gate import bench as benches
from esrbench.gate.bench import Bench, Request
from esrbench.gate.figures import WeightsFigure
from esrbench.records import Absent


@pytest.mark.usefixtures("lasting_workers")
def test_counts_and_scores(pair_folder, describe):
    """FSRCNN(56, 12, 4) at x4 has 12,809 parameters; of random weights nothing is scored."""
    registry = Registry()
    known = [default_registry().get(name) for name in ("fsrcnn", "bicubic")]
    registry.add([*known, describe("NoSuchNetwork")], origin="tests")
    random = WeightsFigure(source="random")
    bench = Bench(registry, Request(threads=1, data={"pairs": str(pair_folder)}))
    subjects = [
        bench.subject(name, bench.entry(name, 4, random), data)
        for name, data in (("fsrcnn", ["pairs"]), ("bicubic", ["pairs"]), ("nosuchnetwork", []))
    ]

    fsrcnn, bicubic, failed = bench.measure(subjects, (32, 32))

    assert fsrcnn.figures.counts["params"] == 12_809
    assert fsrcnn.figures.weights.source == "random"
    assert fsrcnn.figures.scores == {}
    assert bicubic.figures.weights.source == "none"
    assert set(bicubic.figures.scores["pairs"].values) == {"psnr_rgb", "psnr_y", "ssim_y"}
    assert bicubic.absent["pairs", "peak_bytes"].kind == "unavailable"
    assert (failed.figures.kind, failed.key) == ("failed", "nosuchnetwork x4")


def test_an_entry_is_measured_and_raced_in_the_precision_that_it_declares(describe, monkeypatch):
    registry = Registry()
    registry.add([describe("Nearest", precision="bf16"), describe("Constant")], origin="tests")
    raced = []
    nothing = Absent(kind="failed", reason="not counted here")
    monkeypatch.setattr(benches, "count_models", lambda models, **_: iter([nothing] * len(models)))
    monkeypatch.setattr(benches, "race", lambda _c, _b, protocol, *_, **__: raced.append(protocol))
    bench = Bench(registry, Request(threads=1))
    entries = [bench.entry(name, 4) for name in ("nearest", "constant")]
    found = bench.measure([bench.subject(e.descriptor.name, e, []) for e in entries])
    assert [each.terms.protocol["forward"] for each in found] == ["bf16", "fp32"]
    bench.race(*entries)
    bench.race(*reversed(entries))
    assert [protocol.forward.precision for protocol in raced] == ["bf16", "fp32"]


def test_data_that_is_not_here_says_why():
    bench = Bench(default_registry(), Request())
    entry = bench.entry("bicubic", 4)

    subject = bench.subject("bicubic", entry, ["set14"])

    assert subject.data == {}
    assert subject.unopened["set14"].kind == "unavailable"
    assert subject.unopened["set14"].reason.startswith("set14 cannot be opened here: ")


@pytest.mark.parametrize(
    ("kept", "asked", "source"),
    [
        (None, {}, "demo"),
        ("demo", {}, "demo"),
        ("random", {}, "random"),
        ("file", {}, "random"),
        ("released", {}, "random"),  # what is here instead is another kind
        ("demo", {"rfdn": None}, "random"),
        ("random", {"rfdn": "auto"}, "demo"),
    ],
)
def test_weights_are_of_the_kind_that_the_baseline_has(kept, asked, source):
    bench = Bench(default_registry(), Request(weights=asked))
    figure = None if kept is None else WeightsFigure(source=kept)

    assert bench.entry("rfdn", 4, figure).weights.identity.source == source


def test_a_scale_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="not defined at x5"):
        Bench(default_registry(), Request()).entry("rfdn", 5)
