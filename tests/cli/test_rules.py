import json

import pytest
import typer
from typer.testing import CliRunner

from esrbench.cli.leaderboard import leaderboard_command
from esrbench.cli.rules import rules_command
from esrbench.errors import UsageError
from esrbench.ranking.rules import RULES, TEMPLATE

app = typer.Typer()
app.command("rules")(rules_command)
app.command("leaderboard")(leaderboard_command)


def printed(*arguments):
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_every_rule_has_a_line():
    lines = printed("rules").splitlines()
    assert [line.split()[0] for line in lines[: len(RULES)]] == list(RULES)


def test_an_unverified_rule_says_so():
    lines = [line for line in printed("rules").splitlines() if "(unverified)" in line]
    assert [line.split()[0] for line in lines] == ["aim2020", "aim2025-epsr", "ais2024-rtsr"]
    assert "Verified" in printed("rules", "ais2024-rtsr")
    assert "Verified" not in printed("rules", "ntire2026-mobile")


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_explained(name):
    text = " ".join(printed("rules", name).split())
    rule = RULES[name]
    for said in (rule.source, rule.ties, *rule.inferred, *rule.unverified):
        assert " ".join(said.split()) in text


def test_a_score_is_explained_with_its_reference_numbers():
    text = printed("rules", "ntire2024")
    assert "0.7 exp(2 Runtime / 13.54 ms)" in text
    assert "0.15 exp(2 Params / 0.317 M)" in text
    assert "PSNR >= 26.99 dB on DIV2K_LSDIR test" in text


def test_rules_as_json():
    (first, *_) = json.loads(printed("rules", "--json"))
    assert first["name"] == "ntire2022"
    one = json.loads(printed("rules", "rtsr2023", "--json"))
    assert one["formulas"]["main"].startswith("20 * 2^delta / sqrt(Runtime in ms)")
    assert one["published_entries"] is True


def test_the_template_can_be_explained(tmp_path):
    path = tmp_path / "rule.toml"
    path.write_text(printed("rules", "--template"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == TEMPLATE
    assert "Our challenge" in printed("rules", str(path))
    with pytest.raises(UsageError, match="prints TOML only"):
        printed("rules", "ntire2022", "--template")


def test_an_official_table_in_every_form():
    assert "Alpan Team!" in printed("leaderboard", "--official", "ntire2022")
    assert "| Alpan Team! " in printed(
        "leaderboard", "--official", "ntire2022", "--format", "markdown"
    )
    for form, opening in (("latex", "% needs"), ("html", '<div class="esrbench-table">')):
        text = printed("leaderboard", "--official", "ntire2022", "--format", form)
        assert text.startswith(opening)
        assert "Alpan Team!" in text
    csv = printed("leaderboard", "--official", "ntire2022", "--format", "csv")
    assert "rank 9, printed 10" in csv
    document = json.loads(printed("leaderboard", "--official", "ntire2022", "--json"))
    assert document["ranked"][0]["entry"] == "ByteESR"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--official", "ntire2022", "--scale", "4"], "--scale has no effect"),
        (["--with-official", "--relative-to", "a"], "--relative-to has no effect"),
        (["--official", "aim2020"], "no published table of aim2020"),
    ],
)
def test_options_that_contradict_one_another(arguments, message):
    with pytest.raises(UsageError, match=message):
        printed("leaderboard", *arguments)
