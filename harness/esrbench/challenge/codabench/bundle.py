"""Writes a challenge as the bundle of a competition, which an organiser uploads to Codabench."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import yaml

from esrbench.challenge.codabench.competition import (
    DATE_FORMAT,
    FILE_NAME,
    MAX_TITLE,
    METADATA,
    Competition,
    check_bundle,
    read_competition,
)
from esrbench.challenge.codabench.programs import GATE, HR, KEY_BYTES, LR, SETTINGS, ProgramSettings
from esrbench.challenge.plan import open_data
from esrbench.data.codecs import write_png
from esrbench.data.resize import upscale
from esrbench.errors import UsageError
from esrbench.metrics import METRICS
from esrbench.plaintext import plural
from esrbench.records import Notice
from esrbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from esrbench.challenge.file import Challenge
    from esrbench.data.datasets import ImagePairs
    from esrbench.ranking.rule import Gate, Rule

Kind = Literal["images", "code"]

PHASES: Final[Mapping[Kind, str]] = {"images": "Images", "code": "Code"}
"""Names of the phases and their pages, by the kind of submission."""
OWN_IMAGE: Final = "localhost/esrbench"
"""Stands for a Docker image if the organiser names none; no registry has it."""
IMAGES_DAYS: Final = 30
"""Days of the phase for SR images before that for code, if the challenge does not say."""
PUBLIC: Final = "public.zip"
TERMS: Final = "terms.md"
LOGO: Final = "logo.png"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: the zip file.
        competition: the content of its ``competition.yaml``.
        notices: settings that the challenge leaves out, and their defaults.
    """

    path: Path
    competition: Competition
    notices: tuple[Notice, ...]


def write_bundle(
    path: Path,
    challenge: Challenge,
    target: Path,
    *,
    today: datetime,
    on_image: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Bundle:
    """Write the bundle of a challenge and check it.

    Args:
        path: the challenge's file.
        challenge: the content of that file.
        target: zip file to write; an existing one is replaced.
        today: start of the first phase, unless the challenge names one.
        on_image: called with data set, images checked and images in all.

    Raises:
        UsageError: nothing can be submitted, a named file cannot be read, or the bundle cannot be
            written.
        DataError: images may not be measured on, or Codabench would refuse some fields.
    """
    table = challenge.codabench
    data = [
        open_data(path, number, each, challenge.scale, on_image)[0]
        for number, each in enumerate(challenge.data)
    ]
    competition = read_competition(_content(challenge, data, today), str(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent) as temp:
            images, bundle, whole = (Path(temp) / name for name in ("images", "bundle", "whole"))
            bundle.mkdir()
            content = competition.model_dump(mode="json", exclude_none=True)
            texts = {FILE_NAME: yaml.safe_dump(content, sort_keys=False), TERMS: _template(TERMS)}
            texts |= _pages(challenge, competition, data)
            for name, text in texts.items():
                (bundle / name).write_text(text, "utf-8")
            write_png(bundle / LOGO, _logo())
            for name, given in ((TERMS, table.terms), (LOGO, table.logo)):
                if given is not None:
                    shutil.copyfile(path.parent / given, bundle / name)
            for pairs in data:
                _write_images(pairs, images / pairs.name)
                _write_programs(challenge, pairs, images / pairs.name, bundle)
            public = {
                each.name: images / each.name / LR for each in _taken("images", challenge, data)
            }
            if public:
                _pack(bundle / PUBLIC, public)
            _pack(whole, {"": bundle})
            check_bundle(whole)
            whole.replace(target)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror or error}"
        advice = "Name another --output, or correct the path in [codabench]."
        raise UsageError(message, advice=advice) from error
    return Bundle(target, competition, tuple(_notices(challenge, competition)))


def _taken(kind: Kind, challenge: Challenge, data: Sequence[ImagePairs]) -> list[ImagePairs]:
    """Data sets that take submissions of a kind; hidden ones take no SR images."""
    if kind not in challenge.codabench.takes:
        return []
    return [each for each in data if kind == "code" or not each.hidden]


def _content(challenge: Challenge, data: Sequence[ImagePairs], today: datetime) -> dict[str, Any]:
    """``competition.yaml`` as a document.

    Raises:
        UsageError: nothing can be submitted.
    """
    table = challenge.codabench
    tasks: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    for kind, title in PHASES.items():
        first = len(tasks)
        for pairs in _taken(kind, challenge, data):
            task = {
                "index": len(tasks),
                "name": f"{pairs.name} x{pairs.scale}, {title}",
                "reference_data": _reference(pairs),
                "scoring_program": _program(pairs, kind, "scoring"),
                "ingestion_program": None,
            }
            if kind == "code":
                task["ingestion_program"] = _program(pairs, kind, "ingestion")
            tasks.append(task)
        if len(tasks) > first:
            phase = {
                "index": len(phases),
                "name": title,
                "tasks": list(range(first, len(tasks))),
                "execution_time_limit": table.seconds,
                "max_submissions_per_day": table.submissions_a_day,
                "public_data": PUBLIC if kind == "images" else None,
                "accepts_only_result_submissions": kind == "images",
                "hide_prediction_output": kind == "code",
            }
            phases.append(phase)
    if not phases:
        message = "there is nothing to submit: all data sets are hidden, and no code is taken"
        raise UsageError(message, advice='Add "code" to takes in [codabench].')
    starts = [_utc(table.start or today)]
    if len(phases) > 1:
        starts.append(_utc(table.code_start or starts[0] + timedelta(days=IMAGES_DAYS)))
        phases[0]["end"] = f"{starts[1] - timedelta(seconds=1):{DATE_FORMAT}}"
    if table.end is not None:
        phases[-1]["end"] = f"{_utc(table.end):{DATE_FORMAT}}"
    for phase, start in zip(phases, starts, strict=True):
        phase["start"] = f"{start:{DATE_FORMAT}}"
    board = {"title": "Results", "key": "results", "columns": _columns(challenge, data)}
    return {
        "title": challenge.title,
        "description": challenge.rule.title,
        "image": LOGO,
        "terms": TERMS,
        "docker_image": table.docker_image or f"{OWN_IMAGE}:{__version__}",
        "queue": table.queue,
        "pages": [
            {"title": title, "file": f"{title}.md"}
            for title in ("Overview", *(phase["name"] for phase in phases))
        ],
        "tasks": tasks,
        "phases": phases,
        "leaderboards": [board],
    }


def _reference(pairs: ImagePairs) -> str:
    return f"reference-{pairs.name}.zip"


def _program(pairs: ImagePairs, kind: Kind, program: str) -> str:
    return f"{program}-{kind}-{pairs.name}.zip"


def _utc(moment: datetime) -> datetime:
    """A date in UTC without a time zone, as Codabench takes it."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _metrics(rule: Rule) -> tuple[str, ...]:
    """Keys of the metrics shown. The main track's come first, because columns break ties."""
    first = rule.tracks[0].metrics if rule.tracks else ()
    return tuple(dict.fromkeys((*first, *rule.columns, "psnr_rgb")))


def _gate(rule: Rule, pairs: ImagePairs) -> Gate | None:
    """The gate on a data set, if it is a minimum; Codabench judges no other gates."""
    gates = (each for each in rule.gates if each.data in {None, pairs.name})
    return next((each for each in gates if each.minimum is not None), None)


def _columns(challenge: Challenge, data: Sequence[ImagePairs]) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = []
    if any(_gate(challenge.rule, each) for each in data):
        columns.append({"key": GATE, "title": "Gate", "sorting": "desc", "precision": 0})
    columns += [
        {
            "key": metric.key,
            "title": metric.heading[:MAX_TITLE],
            "sorting": "desc" if metric.better == "higher" else "asc",
            "precision": metric.digits,
        }
        for metric in (METRICS[key] for key in _metrics(challenge.rule))
    ]
    return [{"index": index} | column for index, column in enumerate(columns)]


def _write_images(pairs: ImagePairs, folder: Path) -> None:
    """Write a data set as a folder of pairs, HR images as they are scored."""
    for name in (HR, LR):
        (folder / name).mkdir(parents=True)
    for index, pair in enumerate(pairs.pairs):
        write_png(folder / HR / f"{pair.name}.png", pairs.read_hr(index))
        write_png(folder / LR / f"{pair.name}.png", pairs.read_lr(index))


def _write_programs(challenge: Challenge, pairs: ImagePairs, images: Path, bundle: Path) -> None:
    """Write what the tasks of a data set need, as zip files."""
    settings = ProgramSettings(
        name=pairs.name,
        data=pairs.title,
        hidden=pairs.hidden,
        scale=pairs.scale,
        columns=_metrics(challenge.rule),
        gate=_gate(challenge.rule, pairs),
        protocol=challenge.measured_by,
        isolation=challenge.isolation,
        classes=challenge.classes,
    )
    _pack(bundle / _reference(pairs), {"": images})
    if _taken("images", challenge, [pairs]):
        _pack(bundle / _program(pairs, "images", "scoring"), {}, _texts("scoring", settings))
    if _taken("code", challenge, [pairs]):
        settings = settings.model_copy(update={"key": secrets.token_hex(KEY_BYTES)})
        _pack(bundle / _program(pairs, "code", "scoring"), {}, _texts("scoring", settings))
        texts = _texts("ingestion", settings)
        _pack(bundle / _program(pairs, "code", "ingestion"), {LR: images / LR}, texts)


def _texts(program: str, settings: ProgramSettings) -> dict[str, str]:
    """Files of a program: the command for Codabench's worker, and the settings."""
    command = {"command": f"esrbench codabench --run {program} /app"}
    return {METADATA: yaml.safe_dump(command), SETTINGS: settings.model_dump_json()}


def _pack(
    target: Path, folders: Mapping[str, Path], texts: Mapping[str, str] | None = None
) -> None:
    """Write a zip file.

    Args:
        target: the file.
        folders: folders to pack whole, by their names in the archive.
        texts: files by name.
    """
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in (texts or {}).items():
            archive.writestr(name, text)
        for name, folder in folders.items():
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archive.write(file, Path(name) / file.relative_to(folder))


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _pages(
    challenge: Challenge, competition: Competition, data: Sequence[ImagePairs]
) -> dict[str, str]:
    """Pages for participants, by file: on the whole competition, and on what each phase takes."""
    phases = [
        f"- **{each.name}** from {each.start} to {each.end or 'no end'} (UTC)"
        for each in competition.phases
    ]
    sets = [
        f"- {each.title}: {plural(len(each), 'image')}{', hidden' if each.hidden else ''}"
        for each in data
    ]
    values = {
        "title": challenge.title,
        "phases": "\n".join(phases),
        "rule": challenge.rule.title,
        "gates": "; ".join(each.describe() for each in challenge.rule.gates) or "none",
        "data": "\n".join(sets),
        "scale": challenge.scale,
    }
    return {
        page.file: Template(_template(f"{page.file}.tmpl")).substitute(values)
        for page in competition.pages
    }


def _logo() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random colours, uint8 (256, 256, 3): LR pixels on the left, upscaled on the right."""
    lr = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    logo = upscale(lr, 16, border="mirror")
    logo[:, :128] = np.repeat(np.repeat(lr, 16, 0), 16, 1)[:, :128]
    return logo


def _notices(challenge: Challenge, competition: Competition) -> Iterator[Notice]:
    """Settings that the challenge leaves out, and their defaults."""
    table = challenge.codabench
    if table.docker_image is None:
        yield Notice(
            code="no-docker-image",
            message=f"no Docker image is named, so the bundle asks for {competition.docker_image}, "
            "which Codabench cannot pull",
            advice="Build an image with esrbench in it and push it. Name it by docker_image in "
            "[codabench] or by --docker-image.",
        )
    if table.start is None:
        yield Notice(
            code="no-start",
            message=f"the first phase starts when this was made, {competition.phases[0].start}",
            advice="Write start into [codabench], or change the date on Codabench.",
        )
    if table.terms is None:
        yield Notice(
            code="no-terms",
            message="the terms are a short default text",
            advice="Name your own file: terms in [codabench].",
        )
    if any(each.beats for each in challenge.rule.gates):
        yield Notice(
            code="gate-not-shown",
            message="the gate compares with an interpolation baseline, which no column shows",
            advice="`esrbench run` on the challenge checks it.",
        )
