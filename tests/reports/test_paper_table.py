import pytest
from builders import csv_rows

from esrbench import api
from esrbench.entries.registry import default_registry
from esrbench.probes import complexity
from esrbench.records import Absent
from esrbench.reports.formats import render
from esrbench.reports.paper_table import (
    ComparedRow,
    PrintedRow,
    closeness,
    compare_rows,
    matches,
    paper_table,
    printed_rows,
    step,
)


def count_in_process(models, *, counters):
    """As ``count_models`` does, without a worker."""
    for descriptor, scale in models:
        yield api.complexity(descriptor, scale, counters=counters)


@pytest.fixture(scope="module")
def compared():
    """Every row, of what the counters say alone: an audit takes ten times as long as they do."""
    unaudited = Absent(kind="skipped", reason="not in this test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esrbench.reports.paper_table.count_models", count_in_process)
        patch.setattr(complexity, "_audited", lambda *_: unaudited)
        rows = list(compare_rows(printed_rows(), default_registry()))
    return {(row.printed.system, row.printed.scale): row for row in rows}


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [
        ("20.27", 20.2690, "exact"),
        ("20.27", 20.2650, "exact"),
        ("20.27", 20.2749, "exact"),
        ("45.23", 45.2399, "rounded"),
        ("45.23", 45.2501, "inconsistent"),
        ("1774", 1774.08, "exact"),
    ],
)
def test_closeness_counts_in_units_of_the_last_digit(printed, value, verdict):
    assert closeness(printed, value) == verdict
    assert matches(printed, value) is (verdict == "exact")


def test_steps():
    assert (step("323"), step("5.3"), step("19.21")) == (1.0, 0.1, 0.01)


def test_every_system_has_three_scales():
    rows = printed_rows()
    systems = dict.fromkeys(row.system for row in rows)
    assert len(systems) == 15
    assert [(row.system, row.scale) for row in rows] == [
        (system, scale) for system in systems for scale in (2, 3, 4)
    ]


@pytest.mark.slow
def test_what_workers_count_and_audit_is_the_same(compared):
    systems = {"AIDN", "FSRCNN", "IMDN", "LapSRN"}
    rows = [row for row in printed_rows() if row.system in systems]
    found = list(compare_rows(rows, default_registry()))
    assert len(found) == 12
    assert found == [compared[row.system, row.scale] for row in rows]


@pytest.mark.slow
def test_the_paper_s_own_network_is_exact(compared):
    for scale, params, flops in (
        (2, 323_262, 19.2073),
        (3, 330_027, 19.6496),
        (4, 339_498, 20.2690),
    ):
        row = compared["AIDN", scale]
        assert row.params == params
        assert row.flops_by_paper / 1e9 == pytest.approx(flops, abs=5e-5)
        assert (row.params_verdict, row.flops_verdict, row.remark) == ("exact", "exact", "")


@pytest.mark.slow
def test_verdicts_are_those_worked_out_by_hand(compared):
    params = {key: row.params_verdict for key, row in compared.items()}
    odd = {key: verdict for key, verdict in params.items() if verdict != "exact"}
    assert odd == {
        ("FSRCNN", 4): "other convention",
        ("VDSR", 4): "other convention",
        ("DRRN", 4): "other convention",
        ("MemNet", 4): "other convention",
        ("RCAN", 2): "rounded",
        ("SAN", 2): "rounded",
    }
    flops = {key: row.flops_verdict for key, row in compared.items()}
    assert {key for key, verdict in flops.items() if verdict == "not printed"} == {
        (system, scale) for system in ("RDN", "RCAN", "SAN") for scale in (2, 3, 4)
    }
    # MemNet's 2662.35 is rounded once more, IMDN's 45.240 printed 45.23, LapSRN's 149.34 as
    # 149.4: one off in the last digit. FSRCNN and SRResNet x4 are exact.
    assert {key for key, verdict in flops.items() if verdict == "rounded"} == {
        ("IMDN", 2),
        ("LapSRN", 4),
        *(("MemNet", scale) for scale in (2, 3, 4) if flops["MemNet", scale] == "rounded"),
    }
    assert {key for key, verdict in flops.items() if verdict == "inconsistent"} == {
        ("LapSRN", 2),
        ("LapSRN", 3),
        ("CARN", 2),
        ("CARN", 3),
        ("CARN", 4),
        ("SRResNet", 2),
        ("SRResNet", 3),
        ("IMDN", 4),
        ("RFDN", 2),
        ("RFDN", 3),
        ("RFDN", 4),
    }


@pytest.mark.slow
def test_remarks_name_the_other_network(compared):
    assert compared["IMDN", 4].remark == "FLOPs are of imdn-challenge, parameters of imdn"
    assert compared["RFDN", 2].remark == "FLOPs are of rfdn-5, parameters of rfdn-paper"
    assert "CARN prints 29.9" in compared["LapSRN", 2].remark


def row(scale, flops):
    """IMDN of the paper's table 3; its counts are those of the challenge's counter and aten's."""
    printed = PrintedRow(
        system="IMDN",
        scale=scale,
        params_k="715",
        flops_g=flops,
        params_entry="imdn",
        flops_entry="imdn-challenge",
        carn_720p_g="",
    )
    return ComparedRow(
        printed=printed,
        params=715_176,
        params_verdict="exact",
        flops_origin="ntire2022",
        flops_by_paper=58_531_512_320,
        flops_verdict="inconsistent" if flops else "not printed",
        macs=46_520_000_000,
        remark="FLOPs are of imdn-challenge",
    )


def test_rows_of_a_system_stand_together_with_both_figures_and_verdicts():
    table = paper_table([row(3, ""), row(4, "58.53")], caption="Table 3")
    (section,) = table.sections
    assert section.label == "IMDN"
    cells = [list(map(str, each)) for each in section.rows]
    assert cells[1] == [
        *("×4", "715", "715.2", "exact", "58.53", "58.53"),  # noqa: RUF001 - as printed
        *("46.52", "ntire2022", "inconsistent", "FLOPs are of imdn-challenge"),
    ]
    assert cells[0][4] == "–"  # noqa: RUF001 - as printed
    assert section.rows[1][8].spans[0].tone == "wrong"
    assert "Params [K]" in {heading.group for heading in table.headings}


def test_it_takes_the_forms_of_every_table():
    table = paper_table([row(4, "58.53")], caption="Table 3")
    text = render(table, "markdown")
    assert "- rule ntire2022: the challenge's counter" in text
    assert "best" not in text
    assert r"\multicolumn{5}{c}{FLOPs [G]}" in render(table, "latex")
    (record,) = csv_rows(table)
    assert (record["system"], record["params_k"], record["params"]) == ("IMDN", "715", "715176")
