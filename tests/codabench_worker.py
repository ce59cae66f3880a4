"""Codabench's worker as far as a submission can tell: its folders, its steps, and no network.

Steps, folders and mounts are those of ``compute_worker.py`` of ``codalab/codabench`` at commit
c7dbc756. Bubblewrap stands for Docker: a container sees the system read-only, an empty temporary
folder, and below ``/app`` what the worker mounts there.
"""

import io
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

TEMP = "/tmp"  # noqa: S108 - of the container


@dataclass(frozen=True)
class Outcome:
    """What a participant gets: figures for the leaderboard or None, and all messages."""

    scores: dict | None
    said: str
    prediction: Path


def contained(command, mounts):
    """Run a command in a container; its exit code and what it printed."""
    options = ["--unshare-net", "--unshare-ipc", "--unshare-pid", "--die-with-parent"]
    for path in sorted(Path("/").iterdir()):
        if path.is_symlink():
            options += ["--symlink", path.readlink(), path]
        elif path.name not in {"app", "proc", "dev", "tmp"}:
            options += ["--ro-bind", path, path]
    options += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", TEMP]
    # The environment of the tests may lie below the temporary folder.
    options += ["--ro-bind", sys.prefix, sys.prefix]
    for inside, outside in mounts.items():
        options += ["--bind", outside, f"/app/{inside}"]
    options += ["--chdir", "/app/program", "--setenv", "PYTHONUNBUFFERED", "1"]
    options += ["--setenv", "PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin"]
    options += ["--setenv", "HOME", TEMP, "--setenv", "OMP_NUM_THREADS", "1"]
    done = subprocess.run(
        ["bwrap", *map(str, options), "--", *shlex.split(command)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def submit(bundle, task_index, submission, folder):
    """Run a submission through the steps of a task.

    Args:
        bundle: zip file of the competition.
        task_index: of its task.
        submission: bytes of a zip file.
        folder: for everything; it must be empty.
    """
    with zipfile.ZipFile(bundle) as archive:
        task = yaml.safe_load(archive.read("competition.yaml"))["tasks"][task_index]
        parts = {name: archive.read(name) for key, name in task.items() if "_" in key}

    def unpack(content, place):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(place)
        return place

    def command(program):
        path = program / "metadata.yaml"
        return yaml.safe_load(path.read_text()).get("command") if path.exists() else None

    first = folder / "prediction"
    program, output = unpack(submission, first / "program"), first / "output"
    runs = []
    if command(program) is None:
        shutil.copytree(program, output)
    else:
        output.mkdir()
        runs.append((command(program), {"program": program, "output": output}))
    if "ingestion_program" in task:
        ingestion = unpack(parts[task["ingestion_program"]], first / "ingestion_program")
        mounts = {"program": ingestion, "output": output, "ingested_program": program}
        runs.append((command(ingestion), mounts))
    with ThreadPoolExecutor() as side_by_side:
        said = "".join(text for _, text in side_by_side.map(lambda run: contained(*run), runs))
    (output / "metadata").write_text("exitCode: null\n")

    second = folder / "scoring"
    program = unpack(parts[task["scoring_program"]], second / "program")
    unpack(parts[task["reference_data"]], second / "input" / "ref")
    shutil.copytree(output, second / "input" / "res")
    mounts = {"program": program, "input": second / "input"}
    for name in ("output", "shared"):
        (second / name).mkdir()
        mounts[name] = second / name
    code, text = contained(command(program), mounts)
    said += text
    scores = json.loads((second / "output" / "scores.json").read_text()) if code == 0 else None
    return Outcome(scores, said, output)


def zipped(files):
    """Bytes of a zip file; contents by name, or a folder of files."""
    content = io.BytesIO()
    if isinstance(files, Path):
        files = {
            str(path.relative_to(files)): path.read_bytes()
            for path in files.rglob("*")
            if path.is_file()
        }
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()
