"""Figures from Python."""

import pytest

import esrbench


def test_records_are_drawn_and_the_newest_decides_data_and_scale(make_record):
    records = [
        make_record("old", {"params": 1e5, "psnr_y": 20.0}, data="set5", scale=2),
        make_record("rfdn", {"params": 4e5, "psnr_y": 32.2, "macs_ntire2022": 2e10}),
        make_record("imdn", {"params": 7e5, "psnr_y": 32.1, "macs_ntire2022": 4e10}),
    ]
    figure = esrbench.figures.pareto(records, area="macs_ntire2022", own=["rfdn"])
    (axes,) = figure.axes
    assert axes.get_xlabel() == "Params [M]"
    assert axes.get_ylabel() == "PSNR-Y [dB]"
    assert {text.get_text() for text in axes.texts} == {"RFDN", "IMDN"}
    assert figure.get_supxlabel() == "Area: FLOPs"
    assert hasattr(figure, "savefig")
    swapped = esrbench.figures.pareto(records, x="psnr_y", y="params")
    assert swapped.axes[0].get_ylabel() == "Params [M]"


def test_bad_input():
    with pytest.raises(esrbench.UsageError, match="no figure for this table"):
        esrbench.figures.pareto([])
    with pytest.raises(esrbench.UsageError, match="there is no column 'psnr'"):
        esrbench.figures.pareto([], y="psnr")
