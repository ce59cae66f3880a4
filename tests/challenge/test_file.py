"""``challenge.toml``: what may stand in it, and what is said of what may not."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from esrbench.challenge.file import Challenge, DataTable, json_schema, pin, read_challenge
from esrbench.challenge.scaffold import scaffold_challenge
from esrbench.errors import DataError, UsageError
from esrbench.ranking.rules import RULES, TEMPLATE

WHOLE = """
schema = 1
title = "ESR 2031"
rule = "ntire2026"
scale = 4
entries = ["submissions/*", "rfdn"]
baseline = "rfdn"
replicates = 3
classes = ["fp32", "fp16"]

[[data]]
name = "ours"  # as we have it
folder = "data/ours"
hidden = true

[protocol]
threads = 1

[protocol.latency]
max_rounds = 8

[environments]
team07-net = "torch113"

[outputs]
folder = "board"
tables = ["latex"]
"""
OWN_RULE = """title = "Ours"
data = [{ name = "demo" }]
entries = ["rfdn"]
[rule]
like = "ntire2024"
gates = [{ data = "ours", title = "our images", minimum = 26.5 }]
[rule.baseline]
title = "RFDN"
entry = "rfdn"
values = { runtime_images = 0.1, params = 433448.0, macs_fvcore = 27.1e9 }
"""


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "challenge.toml"
        path.write_text(text)
        return path

    return to_file


def test_everything_in_the_file_reaches_what_measures(write):
    challenge = read_challenge(write(WHOLE))
    assert challenge.rule == RULES["ntire2026"]
    assert challenge.measured_by.latency.processes == 3
    assert challenge.measured_by.latency.max_rounds == 8
    assert challenge.measured_by.threads == 1
    # The edition's own baseline is span.
    assert challenge.ranked_by("span", ()) == (RULES["ntire2026"], None)
    assert challenge.ranked_by("rfdn", {"rfdn"}) == (RULES["ntire2026"], "rfdn")
    rule, relative_to = challenge.ranked_by("rfdn", {"in-another-class"})
    assert (rule.baseline.entry, relative_to) == ("rfdn", None)
    assert challenge.data[0].hidden


def test_without_replicates_no_runtime_is_measured(write):
    challenge = read_challenge(write(WHOLE.replace("replicates = 3", "replicates = 0")))
    assert challenge.measured_by.latency is None


def test_a_rule_of_one_s_own_takes_the_rest_from_an_edition(write):
    rule = read_challenge(write(OWN_RULE)).rule
    assert (rule.name, rule.title) == ("custom", "Ours")
    assert [gate.minimum for gate in rule.gates] == [26.5]
    assert rule.tracks == RULES["ntire2024"].tracks
    assert rule.published["params"] == 433_448


def test_a_rule_in_a_file_lies_where_the_challenge_says(write, tmp_path):
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "ours.toml").write_text(TEMPLATE)
    path = write(WHOLE.replace('"ntire2026"', '"rules/ours.toml"'))
    assert read_challenge(path).rule.name == "custom"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("title =", "titel =", "titel: unknown key; did you mean title?"),
        ("title =", "titel =", "title: required, but missing"),
        ("replicates = 3", "replicates = -1", "replicates: Input should be greater than or equal"),
        ("replicates = 3", 'replicates = "3"', "replicates: Input should be a valid integer"),
        ("max_rounds", "max_round", "protocol.latency.max_round: unknown key in [protocol.latenc"),
        ("max_rounds = 8", "processes = 8", "protocol.latency.processes: write replicates"),
        ("max_rounds = 8", "max_rounds = 2", "protocol.latency: min_rounds 6 exceeds max_rounds 2"),
        ("hidden", "hiden", "data[0].hiden: unknown key in [data[0]]; did you mean hidden?"),
        (
            'folder = "data/ours"',
            "",
            "data[0].folder: required, because no data set is declared as 'o",
        ),
        ('folder = "data/ours"', 'digest = "12"', "data[0].digest: String should match"),
        ('"ours"', '"a b"', "data[0].name: String should match"),
        ('["latex"]', '["pdf"]', "outputs.tables: no format is called pdf; known are csv"),
        ('"ntire2026"', '"ntire2062"', "rule: no rule is called 'ntire2062'. Did you mean ntire20"),
        ('"ntire2026"', '"no.toml"', "no.toml: the rule cannot be read"),
        ('"ntire2026"', "7", "rule: Input should be an object, not 7"),
        ('["fp32", "fp16"]', '["fp8"]', "classes[0]: Input should be 'fp32', 'fp16' or 'bf16'"),
        ("scale = 4", 'scale = 4\nisolation = "none"', "isolation: expected one of auto"),
        ("schema = 1", "schema = 2", "schema: Input should be 1"),
        ("entries = ", "entries = [] #", "entries: Tuple should have at least 1 item"),
        ("schema = 1", "= 1", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_field(write, old, new, says):
    assert old in WHOLE
    path = write(WHOLE.replace(old, new, 1))
    with pytest.raises(DataError, match=r"challenge\.toml") as caught:
        read_challenge(path)
    assert says in "\n".join([caught.value.message, *caught.value.problems])
    assert "esrbench help challenge-file" in caught.value.advice


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("minimum", "minimun", "rule.gates[0].minimun: unknown key in [rule.gates[0]]; did you"),
        ('"ntire2024"', '"ntire1924"', "rule: no rule is called 'ntire1924'"),
        ("like =", 'name = "ntire2024"\nlike =', "rule.name: ntire2024 is the name of an edition"),
        ("params = ", "parms = ", "rule: no metric is called parms"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named_too(write, old, new, says):
    with pytest.raises(DataError) as caught:
        read_challenge(write(OWN_RULE.replace(old, new, 1)))
    assert says in "\n".join(caught.value.problems)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="No such file") as caught:
        read_challenge(tmp_path / "challenge.toml")
    assert "esrbench init-challenge" in caught.value.advice


def test_pinning_keeps_the_rest_of_the_file(write):
    path = write(WHOLE)
    pin(path, {"ours": "a" * 64})
    text = path.read_text()
    assert "# as we have it" in text
    assert "pinned at first use" in text
    assert read_challenge(path).data[0].digest == "a" * 64
    assert tomllib.loads(text)["data"][0].pop("digest")


@pytest.mark.parametrize("like", RULES)
def test_a_new_challenge_can_be_read_whatever_the_edition(tmp_path, like):
    path = scaffold_challenge(tmp_path / "esr", like)
    challenge = read_challenge(path)
    assert challenge.rule == RULES[like]
    commented = path.read_text().replace("# [[data]]", "[[data]]")
    for field in ("name", "folder", "hidden"):
        commented = commented.replace(f"# {field} =", f"{field} =")
    path.write_text(commented)
    gated = {gate.data for gate in RULES[like].gates} - {None}
    assert {each.name for each in read_challenge(path).data} == gated | {"demo"}
    with pytest.raises(UsageError, match="exists already"):
        scaffold_challenge(tmp_path / "esr", like)


def test_the_schema_knows_every_field():
    schema = json_schema()
    known = {field.alias or name for name, field in Challenge.model_fields.items()}
    assert set(schema["properties"]) == known
    assert {"like", "gates"} <= set(schema["$defs"]["Rule"]["properties"])
    json.dumps(schema)


def test_the_guide_explains_every_field():
    guide = (Path(__file__).resolve().parents[2] / "docs" / "organising.md").read_text()
    fields = {field.alias or name for name, field in Challenge.model_fields.items()}
    rows = set(re.findall(r"^\| `\[*([a-z_]+)\]*` \|", guide, re.MULTILINE))
    assert fields - {"schema"} <= rows
    assert all(f"`{name}`" in guide for name in (*DataTable.model_fields, "page", "tables"))
