from types import SimpleNamespace

import pytest

from esrbench.protocol import Protocol, Quantisation
from esrbench.records import (
    Absent,
    Deployment,
    EntryIdentity,
    Graph,
    ImageScore,
    Quality,
    WeightsIdentity,
)
from esrbench.runs.assembly import _across_classes, _advice, _as_timed, _quantised_notices


def score(image, psnr):
    return ImageScore(image=image, psnr_rgb=psnr, psnr_y=psnr, ssim_y=0.9)


def test_the_worst_of_what_was_timed_counts():
    quality = Quality(definition="PSNR", images=(score("a", 30.0), score("b", 31.0)))
    rescored = [score("a", 28.0), score("a", 27.0), score("a", None), score("a", 29.0)]
    found = _as_timed(quality, rescored)
    assert found.images == (score("a", 27.0), score("b", 31.0))
    assert found.definition == "PSNR"
    # However good the untimed pass was, or however bad.
    better = _as_timed(quality, [score("b", None)])
    assert better.images == (score("a", 30.0), score("b", None))


def test_what_was_timed_as_it_was_scored_keeps_its_scores():
    quality = Quality(definition="PSNR", images=(score("a", 30.0),))
    assert _as_timed(quality, []) is quality
    absent = Absent(kind="failed", reason="gone")
    assert _as_timed(absent, [score("a", 30.0)]) is absent


def test_a_ratio_to_a_baseline_of_another_class_is_told_of(make_record):
    def made(precision, torch="2.13.0"):
        record = make_record(name="imdn")
        return SimpleNamespace(
            entry=record.entry,
            protocol=record.protocol.in_precision(precision),
            environment=record.environment.model_copy(
                update={"python": "3.11.7", "packages": {"torch": torch}}
            ),
        )

    assert list(_across_classes(made("fp16"), [])) == []
    assert list(_across_classes(made("fp16"), [made("fp16")])) == []
    (notice,) = _across_classes(made("fp16"), [made("fp32")])
    assert notice.code == "across-classes"
    assert "ran as fp16, Python 3.11.7" in notice.message
    assert "baseline imdn as fp32, Python" in notice.message
    (notice,) = _across_classes(made("fp32", "1.13.1"), [made("fp32")])
    assert "torch 1.13.1, and its baseline imdn as fp32, Python 3.11.7, torch 2.13.0" in (
        notice.message
    )


@pytest.mark.parametrize(
    ("origin", "kind", "reason", "advised"),
    [
        ("submissions/team-net", "forward-error", "Kernel size can't be greater than 5x5", True),
        ("submissions/team-net", "forward-error", "must match the size of tensor b (5)", True),
        ("submissions/team-net", "invalid-output", "LR 37x53 gave shape (1, 3, 1, 1)", True),
        ("submissions/team-net", "forward-error", "division by zero", False),
        ("submissions/team-net", "crash", "the worker exited with code 1; size unknown", False),
        ("esrbench", "forward-error", "Kernel size can't be greater than 5x5", False),
    ],
)
def test_a_failure_on_a_size_names_the_command_that_finds_sizes(origin, kind, reason, advised):
    identity = EntryIdentity(
        name="team-net",
        scale=4,
        factory="model:Net",
        origin=origin,
        code_sha256=None,
        role="network",
        weights=WeightsIdentity(source="random"),
    )
    failure = Absent(kind="failed", reason=f"{kind}: {reason}", advice="Look.", failure=kind)
    advice = _advice(failure, identity)
    assert advice is not None
    assert advice.startswith("Look.")
    assert ("`esrbench validate team-net --fix`" in advice) == advised


@pytest.mark.parametrize(
    ("floats", "ends", "said"),
    [
        ({}, False, None),
        ({"Conv": 2}, True, None),
        ({"Conv": 2}, False, "onnxruntime leaves operators in float32: 2 Conv"),
        ({"Conv": 3, "Einsum": 1}, True, "1 Conv, 1 Einsum"),
        ({"Convolution": 4}, True, "in float32: 2 Convolution"),
    ],
)
def test_what_a_quantised_graph_leaves_in_floats_unasked_is_told(floats, ends, said):
    graph = Graph(
        sha256="a" * 64,
        file_bytes=1,
        parameters=1,
        nodes=1,
        operators={},
        build_seconds=1.0,
        float_products=floats,
    )
    absent = Absent(kind="skipped", reason="not compared")
    deployment = Deployment(backend="onnxruntime", load_seconds=0.1, graph=graph, equality=absent)
    quantisation = Quantisation(images=1, sha256="b" * 64, fp32_ends=ends)
    forward = Protocol().in_precision("int8", quantisation).forward
    told = [notice.message for notice in _quantised_notices(deployment, forward)]
    assert told == [] if said is None else said in told[0]
    assert list(_quantised_notices(deployment, Protocol().forward)) == []
