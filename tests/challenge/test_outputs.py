"""The boards of a challenge, as it publishes them."""

from builders import record

from esrbench.challenge.file import read_challenge
from esrbench.challenge.outputs import challenge_boards

FILE = """title = "small"
rule = "ntire2026"
entries = ["team1-a"]
[[data]]
name = "demo"
"""


def test_a_board_without_its_baseline_says_what_to_write_into_the_file(tmp_path):
    path = tmp_path / "challenge.toml"
    path.write_text(
        'title = "small"\nrule = "ntire2026"\nentries = ["x"]\n[[data]]\nname = "demo"\n'
    )
    values = {"runtime_images": 1e-2, "macs_fvcore": 1e9, "params": 1e5, "psnr_rgb": 27.0}
    run = record("team1-a", values)
    (board,) = challenge_boards(read_challenge(path), [run], [run.data], None)
    (note,) = [each for each in board.board.notes if "is not ranked" in each]
    assert "span: run it beside the others; `baseline` in the challenge's file names" in note
    assert "--relative-to" not in note
