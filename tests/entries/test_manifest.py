from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from esrbench.entries.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    json_schema,
    read_manifest,
    write_fields,
)
from esrbench.errors import RegistrationError
from esrbench.fields import models_in

ROOT = Path(__file__).resolve().parents[2]

WHOLE = (
    """
schema = 1

[model]
name = "team07-fastsr"
summary = "fast"
display_name = "FastSR"
factory = "model:Net"
arguments = [3, [16, 24]]
kwargs = { channels = 32, slope = 0.05, act = "relu", bias = true }
scale_argument = "upscale"
scales = [2, 4]
data_range = 255
pad_multiple = 8
tile = 64
tile_overlap = 16
prepare = "model.folding:fold"
deploy = "switch_to_deploy"
precision = "fp16"
requirements = ["einops>=0.7"]

[[weights]]
scale = 2
file = "x2.safetensors"
bytes = 10
sha256 = "{zeros}"

[[weights]]
scale = 4
file = "deep/x4.pkl"
bytes = 10
sha256 = "{zeros}"
key = ["params_ema", "params", ""]
ignore = ["distill.*"]
prefix = "module."
renames = {{ "body.0" = "head" }}

[team]
name = "Team 7"
contact = "someone@example.org"

[team.paper]
title = "Fast"
venue = "CVPRW"
year = 2025
key = "seven2025fast"

[[claims]]
scale = 4
params = 0.242e6
flops = 14.51e9
flops_counter = "fvcore"
activations = 151.36e6
psnr = [{{ db = 29.0, data = "div2k-valid" }}, {{ db = 32.2, data = "set5", channel = "y" }}]
runtime = {{ milliseconds = 47.75, device = "Titan Xp", data = "div2k-valid" }}
""".replace("{ channels", "{{ channels")
    .replace("true }", "true }}")
    .format(zeros="0" * 64)
)

LEAST = """
schema = 1
[model]
name = "a-b"
factory = "model:Net"
scales = [4]
[team]
name = "A"
contact = "b"
"""


def read(folder, text):
    path = folder / "submission.toml"
    path.write_text(text)
    return read_manifest(path)


def refused(folder, text):
    with pytest.raises(RegistrationError) as caught:
        read(folder, text)
    assert caught.value.message.startswith(f"{folder / 'submission.toml'}: ")
    assert caught.value.advice
    return caught.value.message


def test_every_field_is_read(tmp_path):
    whole = read(tmp_path, WHOLE)
    assert whole.model.options == {"channels": 32, "slope": 0.05, "act": "relu", "bias": True}
    assert isinstance(whole.model.options["bias"], bool)
    assert whole.model.arguments == [3, [16, 24]]
    assert (whole.model.scale_argument, whole.model.deploy) == ("upscale", "switch_to_deploy")
    assert whole.model.targets == {"factory": "model:Net", "prepare": "model.folding:fold"}
    assert whole.model.tile == 64
    assert [whole.scale_of(table) for table in whole.weights] == [2, 4]
    assert whole.weights[1].renames == {"body.0": "head"}
    assert whole.weights[1].key == ("params_ema", "params", "")
    assert (whole.weights[1].prefix, whole.weights[1].ignore) == ("module.", ("distill.*",))
    assert whole.team.paper is not None
    assert whole.team.paper.year == 2025
    assert whole.claims[0].psnr[1].channel == "y"
    assert whole.claims[0].runtime is not None
    assert whole.claims[0].runtime.milliseconds == 47.75


def test_a_single_table_is_for_the_only_scale(tmp_path):
    weights = f'[weights]\nfile = "w.pt"\nbytes = 1\nsha256 = "{"0" * 64}"\n[claims]\nparams = 1\n'
    least = read(tmp_path, LEAST + weights)
    assert least.scale_of(least.weights[0]) == 4
    assert (least.weights[0].key, least.weights[0].prefix) == ((), None)
    assert least.scale_of(least.claims[0]) == 4


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("scales =", "scals =", "model.scals: unknown key in [model]; did you mean scales?"),
        ("scales =", "scals =", "model.scales: required, but missing"),
        ("[team]", "[taem]", "taem: unknown key; did you mean team?"),
        ("[team]", "[zzz]", "zzz: unknown key; known are schema, model, weights, team, claims"),
        ("schema = 1", "schema = 2", "schema: Input should be 1, not 2"),
        ("schema = 1", "", "schema: required, but missing"),
        ('"a-b"', '"ab"', "model.name: expected TEAM-NAME in lower case"),
        ('"a-b"', '"../a-b"', "model.name: expected TEAM-NAME"),
        ('"a-b"', f'"a-{"b" * 63}"', "model.name: String should have at most 64"),
        ("model:Net", "model.py:Net", "model.factory: name the module, not the file: model:Net"),
        ("model:Net", "Net", "model.factory: expected module:attribute"),
        ("model:Net", "a/b:Net", "model.factory: expected module:attribute"),
        (
            "[team]",
            '[team]\npaper = { title = "t", venue = "v", year = 2025, key = "a}b" }',
            "team.paper.key: expected letters, digits",
        ),
        ("[4]", "[]", "model.scales: "),
        ("[4]", "[4, 4, 4]", "model.scales: expected each value once"),
        ("[4]", "[4, 17]", "model.scales[1]: "),
        ("[4]", f"[{10**40}]", "model.scales[0]: "),
        *(
            ("[4]", f"[4]\n{added}", f"model.{says}")
            for added, says in (
                (f'display_name = "{"x" * 300}"', "display_name: String should have at most 40"),
                ('display_name = "a\\u202eb"', "display_name: expected one line of printable"),
                ("tile = 100\npad_multiple = 8", "tile: 100 is no mul"),
                ("tile = 16\ntile_overlap = 9", "tile_overlap: 9 is mo"),
                ("tile_overlap = 1", "tile_overlap: 1 is more"),
                ("kwargs = {a = 2020-01-01}", "kwargs.a: expected a string, a n"),
                ("kwargs = {a = [{b = inf}]}", "kwargs.a: expected a string, a n"),
                ('kwargs = {a = {"\\u0007" = 1}}', "kwargs.a: expected one line"),
                (f"kwargs = {{ a = {'[' * 10}{']' * 10} }}", "kwargs.a: expected lists and tables"),
                ('arguments = "a"', "arguments: expected a list, by position, or a table"),
                ("arguments = [inf]", "arguments: expected a string, a n"),
                ("arguments = {a = 1}\nkwargs = {a = 2}", "arguments: kwargs has a too"),
                ('scale_argument = "up scale"', "scale_argument: expected the name of a param"),
                ('scale_argument = "a"\nkwargs = {a = 2}', "scale_argument: a is given by"),
                ('deploy = "switch to"', "deploy: expected the name of a method, or module:f"),
                ('deploy = "model.py:switch"', "deploy: name the module, not the file"),
                ("kwargs = {a = inf}", "kwargs.a: expected a string, a n"),
                ('kwargs = {a = "\\u0007"}', "kwargs.a: expected one line"),
                (f"kwargs = {{ a = {10**40} }}", "kwargs"),
                (f'kwargs = {{ a = "{"x" * 301}" }}', "kwargs"),
                ('requirements = ["a b"]', "requirements[0]: expected"),
                ('requirements = ["a @ file:///x"]', "requirements[0]"),
                ('requirements = ["a", "a"]', "requirements"),
                ('precision = "int8"', "precision: "),
                ("min_lr_size = 40_000", "min_lr_size"),
                ("min_lr_size = 1025", "min_lr_size"),
                (f"min_lr_size = {10**40}", "min_lr_size"),
                ("tile = 4097", "tile"),
                (f"tile = {10**40}", "tile"),
                (f"tile_overlap = {10**40}", "tile_overlap"),
                (f"pad_multiple = {10**40}", "pad_multiple"),
                ("data_range = 1e-320", "data_range"),
                ("data_range = 1e308", "data_range"),
                ("data_range = 0", "data_range"),
            )
        ),
        (
            "[4]",
            "[4, 8]\nmin_lr_size = 513",
            "model.min_lr_size: SR of the smallest image has 4104",
        ),
        *(
            ('name = "A"', f'name = "A{hidden}"', "team.name: expected one line of printable")
            for hidden in ("\\u001b[2J", "\\u202e", "\u200b", "\u3164")
        ),
        *(
            ("[team]", f"[claims]\n{claim}\n[team]", f"claims.{field}")
            for claim, field in (
                ("params = 1e308", "params: "),
                ("params = -1", "params: "),
                ("activations = 1.1e18", "activations: "),
                ('flops = 1e40\nflops_counter = "aten"', "flops: "),
                ("flops = 1", "flops_counter: give both flops and flops_counter"),
                ('runtime = { milliseconds = 1e-320, device = "x" }', "runtime.milliseconds: "),
                ('runtime = { milliseconds = 1e300, device = "x" }', "runtime.milliseconds: "),
                (
                    'psnr = [{ db = 29.0, data = "a" }, { db = 30.0, data = "a" }]',
                    "psnr: expected one for each data set and channel",
                ),
                ('psnr = {db = 1, dta = "x"}', "psnr.dta: unknown key in"),
                ("scale = 2", "scale: [2], expected at most one for each"),
            )
        ),
        ("[team]", "[[claims]]\n[[claims]]\n[team]", "claims.scale: [4, 4], expected at most one"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(tmp_path, old, new, says):
    assert old in LEAST
    assert says in refused(tmp_path, LEAST.replace(old, new, 1))


@pytest.mark.parametrize(
    "file",
    [
        "../w.pth",
        "/w.pth",
        "a/../w.pth",
        "a\\\\w.pth",
        "./w.pth",
        "a//w.pth",
        ".",
        "",
        "w.py",
        "w.toml",
    ],
)
def test_weights_lie_in_the_folder_and_are_no_code(tmp_path, file):
    table = f'[weights]\nfile = "{file}"\nbytes = 1\nsha256 = "{"0" * 64}"\n'
    assert "weights.file: " in refused(tmp_path, LEAST + table)


def test_several_scales_need_to_be_told_apart(tmp_path):
    table = f'[weights]\nfile = "w.pt"\nbytes = 1\nsha256 = "{"0" * 64}"\n'
    text = LEAST.replace("[4]", "[2, 4]") + table
    assert "weights.scale: required, as model.scales are [2, 4]" in refused(tmp_path, text)


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    said = refused(tmp_path, LEAST.replace("scales", "scals").replace("contact", "kontakt"))
    assert "model.scals" in said
    assert "team.kontakt: unknown key in [team]; did you mean contact?" in said


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"schema = ", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        (b"a = " + b"[" * 30_000, "not valid TOML"),
        (b"a = 1" + b"0" * 5000, "not valid TOML"),
        (b"#" * (MAX_MANIFEST_BYTES + 1), f"expected {MAX_MANIFEST_BYTES} or fewer"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path, content, says):
    path = tmp_path / "submission.toml"
    path.write_bytes(content)
    with pytest.raises(RegistrationError, match=says):
        read_manifest(path)


def test_a_missing_manifest_says_how_to_make_one(tmp_path):
    (tmp_path / "submission.toml").mkdir()
    for path in (tmp_path / "submission.toml", tmp_path / "nowhere" / "submission.toml"):
        with pytest.raises(RegistrationError, match="there is no such file") as caught:
            read_manifest(path)
        assert caught.value.advice == "`esrbench new TEAM-NAME` writes one."


def test_the_committed_schema_is_fresh():
    committed = json.loads((ROOT / "submissions" / "submission.schema.json").read_text())
    assert committed == json_schema(), (
        "run: esrbench new --schema > submissions/submission.schema.json"
    )


def test_the_schema_refuses_unknown_keys_and_knows_single_tables():
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables)
    single, several = schema["properties"]["weights"]["anyOf"]
    assert several["items"] == single == {"$ref": "#/$defs/WeightsTable"}
    assert set(schema["required"]) == {"schema", "model", "team"}


def _fields(table, prefix):
    found = set()
    for name, field in table.model_fields.items():
        whole = f"{prefix}{field.alias or name}"
        inner = next(iter(models_in(field.annotation)), None)
        if inner is None:
            found.add(whole)
        elif inner.__name__ in {"ModelTable", "WeightsTable", "TeamTable", "ClaimsTable"}:
            found |= _fields(inner, f"{whole}.")
        else:
            found.add(whole)
    return found


def test_the_guide_explains_every_field_and_no_other():
    guide = (ROOT / "docs" / "submitting.md").read_text()
    rows = set(re.findall(r"^\| `([a-z0-9_.]+)` \|", guide, re.MULTILINE))
    assert rows == _fields(Manifest, "")


def test_toml_of_this_test_is_toml():
    assert tomllib.loads(WHOLE)["weights"][1]["renames"] == {"body.0": "head"}


def test_a_manifest_of_many_errors_tells_some(tmp_path):
    keys = "\n".join(f"key{index} = 1" for index in range(3000))
    said = refused(tmp_path, LEAST.replace("[team]", f"{keys}\n[team]"))
    assert "and 2980 more" in said
    assert len(said) < 6000


def test_a_key_that_holds_a_command_is_shown_as_text(tmp_path):
    key = '"\\u001b[2J\\n::error::x" = 1'
    said = refused(tmp_path, LEAST.replace("[team]", f"{key}\n[team]"))
    assert "model.\ufffd[2J : :error::x: unknown key" in said


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ('key = ""', None),
        ('key = "params"', None),
        ("key = 3", "weights.key: Input should be a valid tuple"),
        ('key = ["a", 3]', "weights.key[1]: Input should be a valid string"),
        ('key = "\\u0007"', "weights.key: expected one line"),
        ('ignore = "distill.*"', "weights.ignore: Input should be a valid tuple"),
        ('ignore = [""]', "weights.ignore[0]: Value should have at least 1"),
        ("ignor = []", "weights.ignor: unknown key in [weights]; did you mean ignore?"),
    ],
)
def test_how_weights_are_laid_out_is_declared(tmp_path, added, says):
    text = f'{LEAST}[weights]\nfile = "w"\nbytes = 1\nsha256 = "{"0" * 64}"\n{added}\n'
    if says is None:
        assert read(tmp_path, text).weights[0].key == (tomllib.loads(added)["key"],)
    else:
        assert says in refused(tmp_path, text)


def test_fields_are_written_and_all_else_stays(tmp_path):
    text = WHOLE.replace("[model]", "# ours\n[model]  # the network", 1)
    text = text.replace("pad_multiple = 8", "pad_multiple = 8  # for the windows", 1)
    path = tmp_path / "submission.toml"
    path.write_text(text)
    before = path.read_text()
    write_fields(path, {"min_lr_size": 33, "pad_multiple": 16}, 4)
    after = path.read_text()
    assert "pad_multiple = 16  # for the windows" in after
    assert [line for line in before.splitlines() if line not in after.splitlines()] == [
        "pad_multiple = 8  # for the windows"
    ]
    assert set(after.splitlines()) - set(before.splitlines()) == {
        "pad_multiple = 16  # for the windows",
        "min_lr_size = 33",
    }
    model = read_manifest(path).model
    assert (model.min_lr_size, model.pad_multiple) == (33, 16)


def test_what_a_weights_file_is_goes_to_the_table_of_its_scale(tmp_path):
    table = '[[weights]]\nscale = {}\nfile = "x{}.pth"\nbytes = 1\nsha256 = "{}"\n'
    path = tmp_path / "submission.toml"
    path.write_text(
        LEAST.replace("[4]", "[2, 4]")
        + "".join(table.format(scale, scale, "0" * 64) for scale in (2, 4))
    )
    write_fields(path, {"bytes": 7, "sha256": "a" * 64}, 4)
    two, four = tomllib.loads(path.read_text())["weights"]
    assert (two["bytes"], two["sha256"]) == (1, "0" * 64)
    assert (four["bytes"], four["sha256"]) == (7, "a" * 64)


def test_a_manifest_that_would_be_none_is_left_alone(tmp_path):
    path = tmp_path / "submission.toml"
    path.write_text(LEAST)
    with pytest.raises(RegistrationError, match="was not changed") as caught:
        write_fields(path, {"min_lr_size": 5000}, 4)
    assert caught.value.advice == "Write it yourself: min_lr_size = 5000."
    assert path.read_text() == LEAST
    other = tmp_path / "other.toml"
    path.rename(other)
    path.symlink_to(other)
    with pytest.raises(RegistrationError, match="it is a link"):
        write_fields(path, {"min_lr_size": 5}, 4)
    assert other.read_text() == LEAST
