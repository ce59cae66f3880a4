import difflib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from esrbench.errors import RecordError, UsageError
from esrbench.gate import update
from esrbench.gate.baseline import (
    Baseline,
    changes,
    ratio_of,
    read_baseline,
    read_results,
    render,
    settle,
    write_baseline,
)
from esrbench.gate.bench import Request, Subject
from esrbench.gate.figures import Scores, Terms
from esrbench.runs.store import Store


@pytest.fixture
def baseline(terms, figures):
    return Baseline(terms={terms.digest: terms}, entries={"zebra x4": figures, "ant x2": figures})


def test_a_file_reads_as_it_was_written(tmp_path, baseline):
    path = tmp_path / "new" / "baseline.json"

    write_baseline(baseline, path)

    assert read_baseline(path) == baseline
    assert [each.name for each in path.parent.iterdir()] == ["baseline.json"]


def test_text_is_sorted_and_one_figure_is_one_line(baseline):
    text = render(baseline)
    document = json.loads(text)
    assert list(document["entries"]) == ["ant x2", "zebra x4"]
    assert text == json.dumps(document, indent=1, sort_keys=True) + "\n"

    entry = baseline.entries["ant x2"]
    more = entry.model_copy(update={"counts": {**entry.counts, "params": 1001}})
    changed = render(baseline.with_entries({"ant x2": more}, {}))

    diff = [
        line for line in difflib.ndiff(text.splitlines(), changed.splitlines()) if line[0] in "+-"
    ]
    assert diff == ['-     "params": 1000,', '+     "params": 1001,']


def test_terms_that_nobody_needs_are_dropped(baseline, figures):
    other = Terms(protocol={"version": "9"}, software={})
    newer = figures.model_copy(update={"terms": other.digest})

    one = baseline.with_entries({"ant x2": newer}, {other.digest: other})
    both = one.with_entries({"zebra x4": newer}, {})

    assert set(one.terms) == {other.digest, figures.terms}
    assert set(both.terms) == {other.digest}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-20], "not readable as JSON"),
        (lambda text: text.replace('"schema_version": 1', '"schema_version": 2'), "version 2"),
        (lambda text: text.replace("256x256", "64x64"), "they were changed"),
        (lambda text: text.replace("ant x2", "ant"), "expected a network and a scale"),
        (lambda text: text.replace('"counts"', '"count"'), "no such field|Field required"),
    ],
)
def test_a_file_that_is_no_baseline_is_refused(tmp_path, baseline, change, said):
    path = tmp_path / "baseline.json"
    assert change(render(baseline)) != render(baseline)
    path.write_text(change(render(baseline)))

    with pytest.raises(RecordError, match=said) as caught:
        read_baseline(path)
    assert str(path) in caught.value.message


def test_a_write_that_fails_leaves_the_old_file(tmp_path, baseline, monkeypatch):
    path = tmp_path / "baseline.json"
    path.write_text("old")

    def full(_self, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(RecordError, match="No space left"):
        write_baseline(baseline, path)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_digits_within_the_tolerance_are_kept(figures):
    def with_psnr(value, digest="d" * 64):
        scored = Scores(digest=digest, values={"psnr_rgb": value})
        return figures.model_copy(update={"scores": {"demo": scored}})

    def settled(value, digest="d" * 64):
        now = settle(with_psnr(27.5), with_psnr(value, digest))
        return now.scores["demo"].values["psnr_rgb"]

    assert settled(27.50005) == 27.5
    assert settled(27.5002) == 27.5002
    assert settled(27.50005, "e" * 64) == 27.50005
    assert settle(None, figures) == figures


def test_changes_name_entry_metric_and_both_figures(baseline, figures, make_race):
    now = figures.model_copy(
        update={
            "counts": {**figures.counts, "params": 2000},
            "runtime": ratio_of(make_race(1.8)),
        }
    )
    after = Baseline(terms=baseline.terms, entries={"ant x2": now, "new x4": figures})

    lines = list(changes(baseline, after))

    assert "ant x2 Params: 1,000 -> 2,000" in lines
    assert any(line.startswith("ant x2 runtime ratio: none -> 1.8") for line in lines)
    assert [line for line in lines if not line.startswith("ant x2")] == [
        "new x4: new",
        "zebra x4: gone",
    ]
    assert list(changes(baseline, baseline)) == []


def test_results_give_the_newest_whole_run_of_each_data_set(tmp_path, make_record, make_race):
    store = Store(tmp_path)
    for record in (
        make_record("net", {"params": 1, "psnr_y": 20.0}),
        make_record("net", {"params": 2, "psnr_y": 21.0}),
        make_record("net", {"params": 2, "psnr_y": 30.0}, data="set5"),
        make_record("net", {"params": 9}, status="interrupted"),
        make_record("other", {"params": 3}),
        make_race(1.8),
        make_race(1.5, names=("stranger", "reference")),
    ):
        store.put(record)

    baseline, notices = read_results(tmp_path)

    assert notices == []
    assert set(baseline.entries) == {"net x4", "other x4"}
    net = baseline.entries["net x4"]
    assert net.counts == {"params": 2}
    assert {name: scored.values["psnr_y"] for name, scored in net.scores.items()} == {
        "demo": 21.0,
        "set5": 30.0,
    }
    assert (net.runtime.reference, net.runtime.input_size) == ("reference", (48, 48))
    assert net.runtime.ratio == pytest.approx(1.8, rel=0.011)


def test_results_without_runs_are_no_baseline(tmp_path):
    with pytest.raises(UsageError, match="no complete runs"):
        read_results(tmp_path)


@pytest.mark.parametrize(
    ("kept", "given", "scored"),
    [([], [], ["demo"]), ([], ["set5"], ["set5"]), (["set5"], [], ["set5"])],
)
def test_an_entry_without_scores_is_scored_on_demo(figures, monkeypatch, kept, given, scored):
    """It was counted with random weights before, and has trained ones now."""
    monkeypatch.setattr(update, "trained", lambda _entry: True)
    bench = SimpleNamespace(
        request=Request(names=("net",), data=dict.fromkeys(given, "")),
        entry=lambda *_: None,
        subject=lambda name, entry, data: Subject(name, entry, dict.fromkeys(data)),
    )
    scores = dict.fromkeys(kept, figures.scores["demo"])
    old = figures.model_copy(update={"scores": scores})
    assert list(update._subject(bench, ("net", 4), old).data) == scored
