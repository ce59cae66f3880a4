import json
from functools import partial

import builders
import pytest
from typer.testing import CliRunner

import esrbench
import esrbench.paired.race as races
from esrbench.cli.app import app
from esrbench.environment import WORKER_VARIABLE
from esrbench.errors import UsageError
from esrbench.records import RaceRecord
from esrbench.reports.details import race_lines, race_sentence
from esrbench.runs.documents import read_any
from esrbench.runs.store import Store

make_race = partial(
    builders.race, names=("mine", "theirs"), pairs=40, input_size=(48, 64), threads=1
)


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (1.05, "Slower: mine is 5.0% slower than theirs, more than 2.5%; the interval"),
        (1 / 1.1, "Faster: mine is 9.1% faster than theirs, more than 2.5%"),
        (1.0, "Unchanged: mine is as fast as theirs, within 2.5%"),
        (1.02, "Inconclusive: the interval 1.0099 to 1.0302 contains 1.0250."),
    ],
)
def test_the_verdict_in_one_sentence(ratio, says):
    assert race_sentence(make_race(ratio)).startswith(says)


def test_the_figures():
    lines = list(race_lines(make_race(1.05)))
    assert "mine / theirs: ratio 1.0500 [1.0396, 1.0605]" in lines[1]
    assert "half-width 1.00%, 40 pairs" in lines[1]
    assert "self-check, theirs / its copy: ratio 1.0000 [0.9990, 1.0010]" in lines[2]
    assert "half-width 0.10%, 20 pairs" in lines[2]
    assert "40 pairs in 1 fresh processes, 12 s, LR 48x64, device cpu, threads 1" in lines[3]


def test_a_noisy_machine_is_sent_to_the_doctor():
    record = make_race(1.05, self_half=0.02)
    assert "too noisy" in race_sentence(record)
    assert "esrbench doctor" in race_sentence(record)


def test_a_race_against_itself_tells_the_two_apart():
    said = race_sentence(make_race(1.05, names=("mine", "mine")))
    assert "mine (candidate) is 5.0% slower than mine (baseline)" in said


@pytest.mark.parametrize(("ratio", "code"), [(1.05, 0), (1.0, 0), (0.9, 0), (1.02, 3)])
@pytest.mark.parametrize("as_json", [False, True])
def test_exit_codes(monkeypatch, tmp_path, ratio, code, as_json):
    record = make_race(ratio)
    asked = []

    def fake(*arguments, **_):
        asked.append(arguments)
        return record

    monkeypatch.setattr(races, "race", fake)
    arguments = ["race", "rfdn", "imdn", "--results", str(tmp_path), "--max-pairs", "50"]
    arguments += ["--input-size", "20x30", *(["--json"] if as_json else [])]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, done.stderr
    ours, theirs, protocol, design = asked[0]
    assert (ours.descriptor.name, theirs.descriptor.name) == ("rfdn", "imdn")
    assert (protocol.counted_input, design.max_pairs) == ((20, 30), 50)
    assert read_any(tmp_path / "races" / "race-mine.json") == record
    if as_json:
        assert RaceRecord.model_validate(json.loads(done.stdout)) == record
    else:
        assert done.stdout.startswith(race_sentence(record))


def test_the_python_interface_races_and_stores(monkeypatch, tmp_path):
    record = make_race(1.05)
    asked = []
    monkeypatch.setattr(races, "race", lambda *given, **_: asked.extend(given) or record)
    assert esrbench.race("rfdn", "rfdn", results=tmp_path) == record
    assert (asked[0], asked[2].counted_input) == (asked[1], (64, 64))
    assert Store(tmp_path).load_races() == ([record], [])
    monkeypatch.setenv(WORKER_VARIABLE, "1")
    with pytest.raises(UsageError, match="race was called by a file that a worker imports"):
        esrbench.race("rfdn", "rfdn", results=tmp_path)


@pytest.mark.slow
def test_a_real_race(esrbench, tmp_path):
    done = esrbench(
        *("race", "rfdn", "bicubic", "--input-size", "16x16", "--threads", "1"),
        *("--max-pairs", "30", "--json", "--results", tmp_path),
    )
    record = RaceRecord.model_validate(json.loads(done.stdout))
    # RFDN cannot be as fast as interpolation; whether it may be said is the machine's business.
    assert record.verdict in {"slower", "inconclusive"}
    assert done.returncode == (0 if record.verdict == "slower" else 3)
    assert read_any(next((tmp_path / "races").iterdir())) == record


def test_a_race_of_two_backends_names_both():
    record = make_race(1 / 1.1, names=("mine", "mine"))
    record = record.model_copy(
        update={"protocol": record.protocol.by("openvino"), "baseline_backend": "torch"}
    )
    said = race_sentence(record)
    assert said.startswith("Faster: mine by openvino is 9.1% faster than mine by torch")
