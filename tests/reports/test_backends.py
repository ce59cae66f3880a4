"""The table of backends: figures as they are, reasons where there are none."""

from __future__ import annotations

import json

from builders import csv_rows, shown

from esrbench.environment import describe_environment
from esrbench.paired.backends import named_backends
from esrbench.protocol import Protocol
from esrbench.records import (
    Absent,
    BackendFigures,
    Deployment,
    Equality,
    Graph,
    Interval,
    PairedEstimate,
)
from esrbench.reports.backends import backends_table, describe
from esrbench.reports.formats import render
from esrbench.reports.table import MISSING

NEARLY = Equality(values=100_000, differing=4, largest=1, psnr_difference=-1e-6)
OTHER = Equality(values=100_000, differing=40_000, largest=5, psnr_difference=-0.0058)
GRAPH = Graph(
    sha256="a" * 64,
    file_bytes=2**21,
    parameters=10,
    nodes=3,
    operators={"Conv": 3},
    build_seconds=7.25,
)
RATIO = PairedEstimate(
    ratio=0.5,
    interval=Interval(low=0.49, high=0.52, confidence=0.99, method="order-statistics"),
    pairs=20,
)
LACKING = Absent(kind="unavailable", reason="openvino needs openvino", advice="pip install")


def figures(backend, deployment, ratio=RATIO, **fields):
    return BackendFigures(
        network="rfdn", backend=backend, deployment=deployment, ratio=ratio, **fields
    )


def deployment(equality, graph=None):
    return Deployment(
        backend="onnxruntime",
        versions={"onnxruntime": "1.30"},
        load_seconds=0.123,
        graph=graph,
        equality=equality,
    )


TABLE = backends_table(
    [
        figures("onnxruntime", deployment(NEARLY, GRAPH), peak_bytes=3 * 2**20),
        figures("torch-compile", deployment(OTHER), LACKING),
        figures("openvino", LACKING, LACKING),
    ],
    [Protocol(counted_input=(128, 128))],
    describe_environment(threads=2, accelerator=None),
    "demo photographs",
)


def test_a_row_shows_equality_before_speed():
    (section,) = TABLE.sections
    rows = [[str(cell) for cell in row] for row in section.rows]
    assert section.label == "rfdn"
    assert rows[0] == [
        *("onnxruntime", "one level", "+0.0000", "0.500 [0.490, 0.520]"),
        *("3", "2.00", "7.2", "0.12"),
    ]
    assert rows[1] == [
        *("torch-compile", "different", "-0.0058", MISSING),
        *(MISSING, MISSING, MISSING, "0.12"),
    ]
    assert rows[2] == ["openvino", *[MISSING] * 7]


def test_a_row_is_said_in_words_before_the_table_is_there():
    row = figures("onnxruntime", deployment(NEARLY, GRAPH), precision="int8, fp32 ends")
    assert describe(row).startswith("rfdn by onnxruntime, int8, fp32 ends: SR one level, PSNR")
    assert "Time / torch 0.500 [0.490, 0.520]" in describe(row)
    busy = Absent(kind="failed", reason="the machine is too noisy")
    untimed = describe(figures("onnxruntime", deployment(NEARLY, GRAPH), busy))
    assert untimed.endswith("; no ratio: the machine is too noisy")
    assert describe(figures("openvino", LACKING, LACKING)) == (
        "rfdn by openvino: openvino needs openvino"
    )


def test_notes_say_what_ran_and_why_figures_are_missing():
    notes = " ".join(note.text for note in TABLE.notes)
    assert "onnxruntime 1.30" in notes
    assert "LR 3x128x128" in notes
    assert "rfdn by openvino: openvino needs openvino." in notes
    assert "rfdn by torch-compile has no ratio: openvino needs openvino." in notes
    assert shown(TABLE)


def test_other_forms_hold_the_figures_unrounded():
    row, _, missing = csv_rows(TABLE)
    assert float(row["psnr_difference"]) == -1e-6
    assert (float(row["ratio_low"]), float(row["ratio_high"])) == (0.49, 0.52)
    assert float(row["graph_bytes"]) == 2**21
    assert missing["missing"] == "openvino needs openvino"
    assert json.loads(render(TABLE, "json"))[0]["deployment"]["graph"]["nodes"] == 3


def test_all_backends_are_those_of_the_cpu_beside_eager_torch():
    assert not {"torch", "tensorrt"} & set(named_backends(["all"]))
    assert {"torch-compile", "onnxruntime"} <= set(named_backends(["all"]))
    assert named_backends(["openvino"]) == ("openvino",)
