"""A challenge as a competition on Codabench: the bundle, its format, and the programs in it."""

import io
import json
import re
import shutil
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from builders import LENIENT_TABLES, checkpoint, noise, write_set
from codabench_worker import contained, submit, zipped
from fake_worker import Workers, use_fake_workers

from esrbench.challenge.codabench import programs
from esrbench.challenge.codabench.bundle import write_bundle
from esrbench.challenge.codabench.competition import check_bundle
from esrbench.challenge.codabench.programs import (
    IngestionResult,
    _seal,
    _settings,
    _unseal,
    ingest,
    score,
)
from esrbench.challenge.file import CodabenchTable, read_challenge
from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.datasets import open_dataset
from esrbench.data.resize import upscale
from esrbench.entries.registry import default_registry
from esrbench.entries.scaffold import scaffold
from esrbench.errors import DataError, EsrbenchError, UsageError
from esrbench.runs.scoring import score_sr_images
from esrbench.sandbox.tiers import open_sandbox
from esrbench.weights.checkpoints import file_sha256
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import Launcher

FILE = (
    """title = "Small ESR"
entries = ["submissions/*"]
replicates = 1
classes = ["fp32"]
[rule]
ties = "shared"
source = "this test"
columns = ["psnr_rgb", "ssim_rgb", "params", "runtime_images"]
gates = [
  { data = "open", title = "ours", minimum = 8.0 },
  { data = "secret", title = "theirs", minimum = 90.0 },
]
[[rule.tracks]]
key = "main"
label = "Main"
title = "Speed"
formula = { kind = "rank-sum", metrics = ["runtime_images"] }
[[data]]
name = "open"
folder = "open"
[[data]]
name = "secret"
folder = "secret"
hidden = true
[codabench]
docker_image = "registry.example/esrbench:1"
start = 2031-01-01
end = 2031-03-01T14:00:00+02:00
[protocol]
threads = 1
counted_input = [16, 16]
[protocol.quality]
metrics = ["ssim_rgb"]
"""
    + LENIENT_TABLES
)
OPEN_IMAGES, OPEN_CODE, SECRET_CODE = range(3)
"""Indices of the tasks."""
HIDDEN_NAME = "xyzzy"


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    """A challenge on images that are open and others that are hidden."""
    folder = tmp_path_factory.mktemp("challenge")
    write_set(folder / "open", {"one": noise(1, 48, 64), "two": noise(2, 64, 48)})
    write_set(folder / "secret", {HIDDEN_NAME: noise(3, 64, 64)})
    (folder / "challenge.toml").write_text(FILE)
    return folder


def write(folder, target, text=FILE):
    """The bundle of a challenge."""
    path = folder / "challenge.toml"
    path.write_text(text)
    try:
        return write_bundle(path, read_challenge(path), target, today=datetime(2030, 12, 24))  # noqa: DTZ001 - in UTC
    finally:
        path.write_text(FILE)


@pytest.fixture(scope="module")
def bundle(challenge):
    """Its bundle, a zip file."""
    return write(challenge, challenge / "bundle.zip").path


@pytest.fixture(scope="module")
def submission(tmp_path_factory):
    """A folder of an entry that works."""
    return scaffold("team1-a", tmp_path_factory.mktemp("submissions"), scale=4)


def unpack(bundle, name, target):
    """A zip file of a bundle, in a folder."""
    with zipfile.ZipFile(bundle) as archive, archive.open(name) as file:
        zipfile.ZipFile(file).extractall(target)


def names(bundle):
    """Names of all files in the zip files of a bundle, by zip file."""
    with zipfile.ZipFile(bundle) as archive:
        return {
            name: set(zipfile.ZipFile(io.BytesIO(archive.read(name))).namelist())
            for name in archive.namelist()
            if name.endswith(".zip")
        }


def test_the_competition_says_what_the_challenge_does(bundle):
    competition = check_bundle(bundle)
    assert competition.docker_image == "registry.example/esrbench:1"
    first, last = competition.phases
    assert (first.start, first.end) == ("2031-01-01 00:00:00", "2031-01-30 23:59:59")
    assert (last.start, last.end) == ("2031-01-31 00:00:00", "2031-03-01 12:00:00")
    assert (first.tasks, last.tasks) == ((0,), (1, 2))
    assert last.hide_prediction_output
    columns = [(each.key, each.sorting) for each in competition.leaderboards[0].columns]
    assert columns == [
        ("gate", "desc"),
        ("runtime_images", "asc"),
        ("psnr_rgb", "desc"),
        ("ssim_rgb", "desc"),
        ("params", "asc"),
    ]


def test_hr_images_are_in_reference_data_alone_and_hidden_lr_images_in_no_data(bundle):
    pairs = {f"{kind}/{name}.png" for kind in ("HR", "LR") for name in ("one", "two")}
    program = {"metadata.yaml", "settings.json"}
    assert names(bundle) == {
        "public.zip": {"open/one.png", "open/two.png"},
        "reference-open.zip": pairs,
        "reference-secret.zip": {f"HR/{HIDDEN_NAME}.png", f"LR/{HIDDEN_NAME}.png"},
        "scoring-images-open.zip": program,
        "scoring-code-open.zip": program,
        "scoring-code-secret.zip": program,
        "ingestion-code-open.zip": program | {"LR/one.png", "LR/two.png"},
        "ingestion-code-secret.zip": program | {f"LR/{HIDDEN_NAME}.png"},
    }
    tasks = check_bundle(bundle).tasks
    assert [each.ingestion_program is None for each in tasks] == [True, False, False]
    with zipfile.ZipFile(bundle) as archive:
        texts = [archive.read(name) for name in archive.namelist() if name.endswith(".md")]
    assert not any(HIDDEN_NAME.encode() in text for text in texts)


def test_what_the_challenge_leaves_out_is_said(challenge, tmp_path):
    plain = FILE.replace("[codabench]", "[codabench]\ntakes = ['code']")
    plain = plain.replace('docker_image = "registry.example/esrbench:1"\nstart = 2031-01-01\n', "")
    plain = plain.replace("minimum = 8.0", 'beats = "bicubic"')
    written = write(challenge, tmp_path / "bundle.zip", plain)
    said = {each.code: f"{each.message} {each.advice}" for each in written.notices}
    assert set(said) == {"no-docker-image", "no-start", "no-terms", "gate-not-shown"}
    assert "localhost/esrbench" in said["no-docker-image"]
    assert "2030-12-24 00:00:00" in said["no-start"]
    (phase,) = written.competition.phases
    assert phase.name == "Code"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[codabench]", "[codabench]\ncode_start = 2030-12-25", "phases[0].end: expected a date"),
        ("end = 2031-03-01T", "end = 2031-01-15T", "phases[1].end: expected a date after"),
        ("Small ESR", "x" * 257, "title: String should have at most 256"),
        ("[codabench]", '[codabench]\nterms = "no.md"', "no.md: No such file"),
        (
            "[codabench]",
            '[codabench]\nlogo = "challenge.toml"',
            "image: logo.png is not a PNG file",
        ),
    ],
)
def test_what_codabench_would_refuse_is_refused_here(challenge, tmp_path, old, new, says):
    text = FILE.replace(old, new)
    with pytest.raises((DataError, UsageError)) as caught:
        write(challenge, tmp_path / "bundle.zip", text)
    assert says in "\n".join([caught.value.message, *getattr(caught.value, "problems", ())])
    assert not list(tmp_path.iterdir())


def test_images_of_hidden_data_are_not_taken(challenge, tmp_path):
    text = FILE.replace('folder = "open"', 'folder = "open"\nhidden = true')
    text = text.replace("[codabench]", '[codabench]\ntakes = ["images"]')
    with pytest.raises(UsageError, match="there is nothing to submit"):
        write(challenge, tmp_path / "bundle.zip", text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.pop("image"), "image: required, but missing"),
        (lambda c: c.update(colour="red"), "colour: unknown key"),
        (lambda c: c["phases"][1].update(tasks=[7]), "phases: there is no task with the index 7"),
        (lambda c: c["phases"][0].pop("end"), "phases: 'Images' must end before 'Code' starts"),
        (lambda c: c["phases"][0].update(start="soon"), "phases[0].start: expected a date"),
        (lambda c: c["tasks"][1].pop("scoring_program"), "tasks[1].scoring_program: required"),
        (lambda c: c["tasks"][0].update(reference_data="x.zip"), "tasks[0].reference_data: x.zip"),
        (lambda c: c["tasks"][2].update(index=1), "tasks: expected each index once"),
        (
            lambda c: c["leaderboards"][0]["columns"][0].update(title="x" * 37),
            "leaderboards[0].columns[0].title: String should have at most 36",
        ),
        (
            lambda c: c["leaderboards"][0]["columns"][1].update(sorting="up"),
            "leaderboards[0].columns[1].sorting: Input should be 'asc' or 'desc'",
        ),
    ],
)
def test_a_broken_bundle_is_refused_by_its_field(bundle, tmp_path, change, says):
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(bundle) as archive, zipfile.ZipFile(broken, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name == "competition.yaml":
                competition = yaml.safe_load(content)
                change(competition)
                content = yaml.safe_dump(competition)
            changed.writestr(name, content)
    with pytest.raises(DataError) as caught:
        check_bundle(broken)
    assert any(problem.startswith(says) for problem in caught.value.problems), caught.value.problems


@pytest.fixture
def images(bundle, tmp_path):
    """The worker's folder of a scoring step, with SR images of a participant."""
    root = tmp_path / "app"
    unpack(bundle, "scoring-images-open.zip", root / "program")
    unpack(bundle, "reference-open.zip", root / "input" / "ref")
    for name in ("input/res", "output"):
        (root / name).mkdir(parents=True)
    (root / "input/res/metadata").write_text("exitCode: null\n")
    for path in (root / "input/ref/LR").iterdir():
        write_png(root / "input/res" / path.name, upscale(read_rgb(path), 4, border="mirror"))
    return root


def test_images_have_the_scores_of_esrbench_score(images, challenge):
    scores = score(images)
    assert scores == json.loads((images / "output" / "scores.json").read_text())
    record = score_sr_images(
        images / "input/res",
        open_dataset(challenge / "open", 4),
        name="participant",
        metrics=("ssim_rgb",),
    )
    assert scores == {
        "psnr_rgb": record.measured("psnr_rgb"),
        "ssim_rgb": record.measured("ssim_rgb"),
        "gate": 1.0,
    }
    # In folders, as the public data has them.
    whole = images / "input" / "res"
    whole.rename(images / "input" / "open")
    whole.mkdir()
    (images / "input" / "open").rename(whole / "open")
    assert score(images) == scores
    for path in (whole / "open").iterdir():
        write_png(path, noise(9, *read_rgb(path).shape[:2]))
    assert score(images)["gate"] == 0.0


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (lambda res: (res / "one.png").unlink(), "one: has no SR image, expected one.png"),
        (lambda res: write_png(res / "one.png", noise(1)), "one.png: found 36x48 pixels"),
        (lambda res: (res / "one.pkl").write_bytes(b"\x80\x04."), "one.pkl: found a file that is"),
        (lambda res: (res / "one.png").write_bytes(b"\x80\x04."), "one.png: found unknown content"),
        (shutil.rmtree, "there is no such folder"),
        (
            lambda res: zipfile.ZipFile(io.BytesIO(zipped({"../../x.png": b""}))).extractall(res),
            "x.png: is called like no image of the data set",
        ),
    ],
)
def test_wrong_images_end_with_a_message(images, attack, says):
    attack(images / "input" / "res")
    with pytest.raises(EsrbenchError) as caught:
        score(images)
    said = "\n".join([caught.value.message, *getattr(caught.value, "problems", ())])
    assert says in said
    assert not list((images / "output").iterdir())


@pytest.fixture
def code(bundle, submission, tmp_path, monkeypatch):
    """The worker's folders of a code submission, by workers that answer at once."""
    monkeypatch.setattr(Launcher, "worker", Launcher.worker)  # put back afterwards
    for wait in ("SETTLING_SECONDS", "IDLE_SECONDS"):
        monkeypatch.setattr(f"esrbench.runs.timing.{wait}", 0.0)
    workers = Workers()
    use_fake_workers(workers)
    default_registry.cache_clear()

    def lay_out(data="open", files=None):
        first, second = tmp_path / "prediction", tmp_path / "scoring"
        unpack(bundle, f"ingestion-code-{data}.zip", first / "program")
        unpack(bundle, f"scoring-code-{data}.zip", second / "program")
        unpack(bundle, f"reference-{data}.zip", second / "input" / "ref")
        zipfile.ZipFile(io.BytesIO(zipped(files or submission))).extractall(
            first / "ingested_program"
        )
        shutil.copytree(first / "ingested_program", first / "output")
        (second / "output").mkdir()
        return first, second

    yield lay_out, workers
    default_registry.cache_clear()


def carry(first, second):
    """What the worker does between the steps."""
    shutil.copytree(first / "output", second / "input" / "res")


def test_code_is_measured_and_its_images_are_scored(code):
    lay_out, _ = code
    first, second = lay_out("secret")
    assert ingest(first) == ["Params: nothing is counted here"]
    output = {path.name: path.read_bytes() for path in (first / "output").iterdir()}
    assert set(output) == {"0", "measured", "run"}
    assert not any(HIDDEN_NAME.encode() in content for content in output.values())
    carry(first, second)
    scores = score(second)
    assert set(scores) == {"psnr_rgb", "ssim_rgb", "runtime_images", "gate"}
    assert scores["gate"] == 0.0  # 90 dB are asked for
    # Of LR images enlarged, which stand for HR images in the first step, PSNR would be another.
    assert 5 < scores["psnr_rgb"] < 20


@pytest.mark.parametrize(
    "forge",
    [
        lambda own, _other: (own / "0").write_bytes((own / "measured").read_bytes()),
        lambda own, other: shutil.copy(other / "0", own / "0"),
        lambda own, other: shutil.copy(other / "measured", own / "measured"),
        lambda own, _other: (own / "1").unlink(),
        lambda own, _other: (own / "run").write_bytes(b""),
        lambda own, _other: (own / "measured").write_bytes(b"{}"),
    ],
)
def test_forged_output_is_not_scored(bundle, tmp_path, forge):
    unpack(bundle, "scoring-code-open.zip", tmp_path / "program")
    settings = _settings(tmp_path)
    images = [tmp_path / "one.png", tmp_path / "two.png"]
    for path in images:
        write_png(path, noise(1))
    for name in ("own", "other"):
        (tmp_path / name).mkdir()
        _seal(tmp_path / name, IngestionResult(values={"params": 1.0}), images, settings)
    forge(tmp_path / "own", tmp_path / "other")
    (tmp_path / "input").mkdir()
    (tmp_path / "own").rename(tmp_path / "input" / "res")
    with pytest.raises(DataError, match="the output of the ingestion program was altered"):
        score(tmp_path)


@pytest.mark.parametrize("data", ["open", "secret"])
def test_what_a_failing_entry_says_of_hidden_images_is_not_told(code, data):
    lay_out, workers = code
    workers.of = {"team1-a": WorkerError("forward-error", f"I saw {HIDDEN_NAME}", fatal=False)}
    first, second = lay_out(data)
    with pytest.raises(EsrbenchError) as caught:
        ingest(first)
    assert caught.value.message.startswith("team1-a: forward-error: ")
    assert (HIDDEN_NAME in caught.value.message) == (data == "open")
    carry(first, second)
    with pytest.raises(DataError, match="left no results"):
        score(second)


def test_code_is_refused_where_there_is_no_sandbox(code, monkeypatch):
    monkeypatch.setattr(programs, "open_sandbox", lambda: open_sandbox("subprocess"))
    lay_out, workers = code
    first, _ = lay_out()
    with pytest.raises(UsageError, match="this worker has no sandbox for submitted code"):
        ingest(first)
    assert workers.started == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda files: files.pop("submission.toml"), "holds 0 files submission.toml, expected one"),
        (
            lambda files: files.update({"b/submission.toml": files["submission.toml"]}),
            "holds 2 files submission.toml, expected one",
        ),
        (lambda files: files.update({"submission.toml": b"["}), "submission.toml: "),
        (
            lambda files: files.update(
                {"submission.toml": files["submission.toml"].replace(b"team1-a", b"../../x")}
            ),
            "model.name: expected TEAM-NAME",
        ),
        (
            lambda files: files.update(
                {"submission.toml": files["submission.toml"].replace(b'"fp32"', b'"fp16"')}
            ),
            "team1-a declares fp16, and the challenge admits fp32",
        ),
    ],
)
def test_code_that_is_no_entry_ends_with_a_message(code, submission, change, says):
    lay_out, _ = code
    files = {
        str(path.relative_to(submission)): path.read_bytes()
        for path in submission.rglob("*")
        if path.is_file()
    }
    change(files)
    first, _ = lay_out(files=files)
    with pytest.raises(EsrbenchError) as caught:
        ingest(first)
    assert says in caught.value.message


def test_the_guide_explains_every_field_for_codabench():
    guide = (Path(__file__).resolve().parents[2] / "docs" / "organising.md").read_text()
    assert all(f"`{name}`" in guide for name in CodabenchTable.model_fields)


@pytest.fixture(scope="module")
def _containers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    if shutil.which("bwrap") is None or contained("true", {"program": folder})[0]:
        pytest.skip("bubblewrap makes no containers here")


@pytest.mark.slow
@pytest.mark.usefixtures("_containers")
def test_the_worker_scores_images(bundle, challenge, tmp_path):
    files = {}
    sr = tmp_path / "sr"
    sr.mkdir()
    for path in (challenge / "open/LR_bicubic/X4").iterdir():
        name = path.name.replace("x4", "")
        write_png(sr / name, upscale(read_rgb(path), 4, border="mirror"))
        files[f"open/{name}"] = (sr / name).read_bytes()
    done = submit(bundle, OPEN_IMAGES, zipped(files), tmp_path / "worker")
    record = score_sr_images(sr, open_dataset(challenge / "open", 4), name="participant")
    assert set(done.scores) == {"psnr_rgb", "ssim_rgb", "gate"}
    assert done.scores["psnr_rgb"] == record.measured("psnr_rgb")
    del files["open/one.png"]
    done = submit(bundle, OPEN_IMAGES, zipped(files), tmp_path / "again")
    assert done.scores is None
    assert "  - one: has no SR image, expected one.png or onex4.png" in done.said


@pytest.mark.slow
@pytest.mark.usefixtures("_containers")
def test_the_worker_measures_code(bundle, challenge, submission, tmp_path):
    done = submit(bundle, OPEN_CODE, zipped(submission), tmp_path / "worker")
    assert done.scores is not None, done.said
    # So small a network may be lost in the machine's noise, which is said.
    lacks = {"psnr_rgb", "ssim_rgb", "params", "runtime_images", "gate"} - set(done.scores)
    assert not lacks or (lacks == {"runtime_images"} and "absent: Runtime: " in done.said)
    sr = tmp_path / "sr"
    sr.mkdir()
    measured = _unseal(done.prediction, sr, _settings(tmp_path / "worker" / "scoring"))
    assert measured.images == ("onex4.png", "twox4.png")
    record = score_sr_images(sr, open_dataset(challenge / "open", 4), name="participant")
    assert done.scores["psnr_rgb"] == record.measured("psnr_rgb")
    assert done.scores["params"] == measured.values["params"] / 1e6 == 0.012048


HOSTILE = """
import os, socket

for path in ("program/settings.json", "program/LR", "input/ref", "output", "ingested_program/.."):
    try:
        os.listdir(f"/app/{path}") if os.path.isdir(f"/app/{path}") else open(f"/app/{path}")
    except OSError:
        continue
    raise RuntimeError(f"saw {path}")
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except ConnectionRefusedError:
    raise RuntimeError("saw a network")
except OSError:
    pass
"""


SPY = """
for each in $(seq 600); do
  if [ -f /app/output/measured ]; then
    ls -R /app
    cat /app/output/*
    echo forged > /app/output/measured
    exit
  fi
  sleep 0.1
done
"""


@pytest.mark.slow
@pytest.mark.usefixtures("_containers")
def test_hostile_code_learns_nothing_and_forges_no_score(bundle, submission, tmp_path):
    folder = tmp_path / "sub" / "team1-a"
    shutil.copytree(submission, folder)
    (folder / "model.py").write_text(HOSTILE + (folder / "model.py").read_text())
    (folder.parent / "metadata.yaml").write_text("command: sh /app/program/spy.sh\n")
    (folder.parent / "spy.sh").write_text(SPY)
    done = submit(bundle, SECRET_CODE, zipped(folder.parent), tmp_path / "worker")
    # The network saw nothing, or it had failed; its own command saw no more than sealed files.
    assert "measured; the scoring program is next" in done.said
    assert "/app/output:\n0\nmeasured\nrun\n" in done.said
    assert HIDDEN_NAME not in done.said
    assert done.scores is None
    assert "the output of the ingestion program was altered" in done.said


@pytest.mark.slow
@pytest.mark.usefixtures("_containers")
def test_pickled_weights_end_with_a_message(bundle, submission, tmp_path):
    folder = tmp_path / "team1-a"
    shutil.copytree(submission, folder)
    weights = checkpoint(folder, {"body": print}, "weights.pth")
    manifest = (folder / "submission.toml").read_text()
    manifest = re.sub(r"(?m)^file = .*", 'file = "weights.pth"', manifest)
    manifest = re.sub(r"(?m)^bytes = .*", f"bytes = {weights.stat().st_size}", manifest)
    manifest = re.sub(r"(?m)^sha256 = .*", f'sha256 = "{file_sha256(weights)}"', manifest)
    (folder / "submission.toml").write_text(manifest)
    done = submit(bundle, OPEN_CODE, zipped(folder), tmp_path / "worker")
    assert done.scores is None
    assert "team1-a: load-error: weights.pth: " in done.said
    assert "the ingestion program left no results" in done.said
