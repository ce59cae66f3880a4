"""The programs of a bundle, which Codabench's worker runs: ingestion, then scoring.

The worker runs each in a container of its own, with its folders below ``/app``. A submission of SR
images has no ingestion: the worker copies it to the output. For a submission of code, the
ingestion program makes SR images in the sandbox, in a container without HR images.

If a submission brings a command, the worker also runs that, in a third container beside the
ingestion program's. That container sees ``input_data``, so we put the LR images into the ingestion
program instead. It also shares the output, so we encrypt and authenticate all that is written
there, by a key that only the two programs have.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import tomllib
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np

from esrbench.data.codecs import read_rgb, write_png
from esrbench.data.datasets import open_dataset
from esrbench.entries.descriptor import Precision  # noqa: TC001 - pydantic reads it at runtime
from esrbench.entries.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, NAME_PATTERN
from esrbench.entries.registry import default_registry, resolve_name
from esrbench.errors import DataError, MeasurementError, UsageError
from esrbench.files import replace_file
from esrbench.metrics import METRICS
from esrbench.protocol import Frozen, Protocol
from esrbench.ranking.rule import Gate  # noqa: TC001 - likewise
from esrbench.records import Absent, Value
from esrbench.runs.plan import plan_suite
from esrbench.runs.publication import UNSAID, public_records
from esrbench.runs.scoring import score_sr_images
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.sandbox.tiers import PlainProcess, open_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from esrbench.entries.registry import Registry

SETTINGS: Final = "settings.json"
LR: Final = "LR"
"""Folder of LR images in the ingestion program, and in reference data."""
HR: Final = "HR"
GATE: Final = "gate"
"""Key of the column that says whether a submission passes the gate: 1 or 0."""
SCORES: Final = "scores.json"
RUN: Final = "run"
"""Identifies one run of the ingestion program, so that files of another run are not accepted."""
MEASURED: Final = "measured"
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 16


class ProgramSettings(Frozen):
    """The settings of the programs of a task, in a file beside them.

    Attributes:
        name: name of the data set, and of the folder of its SR images in a submission.
        data: title of the data set.
        hidden: names and scores of its images are never published.
        scale: upscaling factor.
        columns: keys of metrics that the leaderboard shows.
        gate: the gate on this data set, if there is one.
        key: key of the ingestion program's output: 16 bytes in hexadecimal. None if SR images are
            submitted, because there is no such program then.
        protocol: how code is measured.
        isolation: sandbox of submitted code, as for ``esrbench run --isolation``.
        classes: precisions that submitted code may declare; all if empty.
    """

    name: str
    data: str
    hidden: bool = False
    scale: int
    columns: tuple[str, ...]
    gate: Gate | None = None
    key: str | None = None
    protocol: Protocol = Protocol()
    isolation: str = "auto"
    classes: tuple[Precision, ...] = ()


class IngestionResult(Frozen):
    """The message of the ingestion program to the scoring program.

    Attributes:
        values: values of metrics in base units, by key.
        images: names of SR images; their files beside it are named by their numbers.
    """

    values: dict[str, float]
    images: tuple[str, ...] = ()


def ingest(root: Path) -> list[str]:
    """Measure submitted code on LR images, and leave its SR images for the scoring program.

    Args:
        root: holds the worker's folders ``program``, ``ingested_program`` and ``output``.

    Returns:
        One line for each absent figure, with the reason.

    Raises:
        EsrbenchError: the submission cannot be measured; on a hidden test set, no reason is given.
    """
    settings, output = _settings(root), root / "output"
    protocol = settings.protocol
    _clear(output)
    if settings.isolation == "auto" and isinstance(open_sandbox(), PlainProcess):
        message = "this worker has no sandbox for submitted code, and its task needs one"
        advice = "Ask the organiser: `esrbench doctor` in the container says what is missing."
        raise UsageError(message, advice=advice)
    with TemporaryDirectory() as temp:
        here = Path(temp)
        registry = default_registry()
        name = resolve_name(registry, str(_submission(root / "ingested_program", here)))
        if name in registry.broken:
            raise registry.broken[name]
        _require_class(name, registry, settings)
        with _discreet(settings):
            pairs = _stand_in_pairs(root / "program" / LR, here / "images", settings.scale)
            suite = plan_suite(
                registry,
                [name],
                [str(pairs)],
                settings.scale,
                weights={},
                protocol=protocol.model_copy(update={"quality": protocol.quality.common}),
                isolation=settings.isolation,
                sr_folder=here / "sr",
                own_precision=True,
            )
            (record,) = run_suite(suite, Store(here / "results"))
            data = record.data.model_copy(update={"hidden": settings.hidden})
            (public,) = public_records([record.model_copy(update={"data": data})])
        if not public.ranked:
            raise MeasurementError(f"{name}: {public.cause}", advice=public.advice)
        values = {key: public.value(key) for key in settings.columns if not _of_images(key)}
        measured = {k: each.value for k, each in values.items() if isinstance(each, Value)}
        _seal(
            output, IngestionResult(values=measured), sorted((here / "sr").rglob("*.png")), settings
        )
    return [
        f"{METRICS[key].label}: {each.reason}"
        for key, each in values.items()
        if isinstance(each, Absent)
    ]


def score(root: Path) -> dict[str, float]:
    """Score SR images, submitted or made by ``ingest``, as ``esrbench score`` does.

    Args:
        root: holds the worker's folders ``program``, ``input/res``, ``input/ref`` and ``output``.

    Returns:
        The figures that were written for the leaderboard, by key, in the units of tables.

    Raises:
        EsrbenchError: the images cannot be scored; on a hidden test set, no reason is given.
    """
    settings, given = _settings(root), root / "input" / "res"
    (given / "metadata").unlink(missing_ok=True)  # Codabench's worker wrote it
    values: dict[str, float] = {}
    with TemporaryDirectory() as temp:
        if settings.key is not None:
            values = _unseal(given, Path(temp), settings).values
            given = Path(temp)
        elif (given / settings.name).is_dir():
            given /= settings.name
        with _discreet(settings):
            pairs = open_dataset(root / "input" / "ref", settings.scale)
            asked = settings.protocol.quality.metrics
            record = score_sr_images(given, pairs, name="submission", metrics=asked)
    for key in filter(_of_images, settings.columns):
        if (value := record.measured(key)) is not None:
            values[key] = value
    scores = {key: value / METRICS[key].divisor for key, value in values.items()}
    if settings.gate is not None:
        value = record.measured(settings.gate.metric)  # None: no error at all
        scores[GATE] = 1.0 if value is None or settings.gate.check(value).rounded else 0.0
    replace_file(root / "output" / SCORES, json.dumps(scores).encode())
    return scores


def _settings(root: Path) -> ProgramSettings:
    """The settings in the organiser's program folder.

    Raises:
        UsageError: there is no such file.
    """
    try:
        return ProgramSettings.model_validate_json((root / "program" / SETTINGS).read_bytes())
    except OSError as error:
        message = f"{root}: found no program/{SETTINGS}: {error.strerror}"
        raise UsageError(message, advice="Codabench's worker calls this, in /app.") from None


def _of_images(key: str) -> bool:
    """Whether a metric is computed from SR images, so that only the scoring program knows it."""
    return METRICS[key].source == "quality"


def _clear(folder: Path) -> None:
    """Remove what the worker, or the submission's own command, has put into the output."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _submission(given: Path, here: Path) -> Path:
    """A link to the submitted folder, named by the entry's name in its manifest.

    Raises:
        DataError: there is no manifest, or several.
    """
    folders = [given, *sorted(path for path in given.iterdir() if path.is_dir())]
    found = [folder for folder in folders if (folder / MANIFEST_NAME).is_file()]
    if len(found) != 1:
        message = f"the submission holds {len(found)} files {MANIFEST_NAME}, expected one"
        advice = "Zip the folder of one entry; `esrbench new TEAM-NAME` starts one, and "
        raise DataError(message, advice=f"{advice}`esrbench validate FOLDER` checks it.")
    name = "submission"
    try:
        with (found[0] / MANIFEST_NAME).open("rb") as file:
            told = tomllib.loads(file.read(MAX_MANIFEST_BYTES).decode())["model"]["name"]
        name = told if re.fullmatch(NAME_PATTERN, told) else name
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        pass  # reading the manifest says what is wrong with it
    (here / name).symlink_to(found[0].resolve())
    return here / name


def _require_class(name: str, registry: Registry, settings: ProgramSettings) -> None:
    precision = registry.get(name).precision
    if settings.classes and precision not in settings.classes:
        message = f"{name} declares {precision}, and the challenge admits "
        message += ", ".join(settings.classes)
        raise UsageError(message, advice=f"Declare another precision in {MANIFEST_NAME}.")


@contextmanager
def _discreet(settings: ProgramSettings) -> Iterator[None]:
    """A block whose errors are not shown if it fails on a hidden test set.

    Raises:
        MeasurementError: replaces any error on a hidden test set.
    """
    try:
        yield
    except Exception:
        if not settings.hidden:
            raise
        message = f"the submission failed on {settings.data}: {UNSAID}"
        advice = "`esrbench run FOLDER` on other images may show why."
        raise MeasurementError(message, advice=advice) from None


def _stand_in_pairs(lr_folder: Path, folder: Path, scale: int) -> Path:
    """Make pairs without HR images: enlarged LR images take their place.

    Scores on them mean nothing and are not used.
    """
    for name in (LR, HR):
        (folder / name).mkdir(parents=True)
    for path in lr_folder.iterdir():
        lr = read_rgb(path)
        shutil.copyfile(path, folder / LR / path.name)
        write_png(folder / HR / path.name, np.repeat(np.repeat(lr, scale, 0), scale, 1))
    return folder


def _cipher(settings: ProgramSettings) -> AESGCM:
    """The cipher for all that goes from the ingestion program to the scoring program.

    Raises:
        UsageError: its library is not installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError:
        message = "the package cryptography is not installed in this container"
        raise UsageError(message, advice="Install 'esrbench[codabench]' there.") from None
    return AESGCM(bytes.fromhex(settings.key or ""))


def _seal(
    output: Path, measured: IngestionResult, images: Sequence[Path], settings: ProgramSettings
) -> None:
    """Write the output so that only the scoring program can read it, and nobody can replace it.

    Files are named by numbers, because names of images may be hidden.
    """
    cipher, run = _cipher(settings), secrets.token_bytes(NONCE_BYTES)
    replace_file(output / RUN, run)

    def write(name: str, content: bytes) -> None:
        nonce = secrets.token_bytes(NONCE_BYTES)
        replace_file(output / name, nonce + cipher.encrypt(nonce, content, run + name.encode()))

    for number, image in enumerate(images):
        write(str(number), image.read_bytes())
    told = measured.model_copy(update={"images": tuple(image.name for image in images)})
    write(MEASURED, told.model_dump_json().encode())


def _unseal(given: Path, target: Path, settings: ProgramSettings) -> IngestionResult:
    """Read what ``_seal`` wrote.

    Args:
        given: the output of the ingestion program.
        target: receives the SR images.
        settings: settings that hold the key.

    Raises:
        DataError: there is no output, or it was altered.
    """
    from cryptography.exceptions import InvalidTag

    cipher = _cipher(settings)
    if not (given / MEASURED).is_file():
        message = "the ingestion program left no results, so nothing can be scored"
        raise DataError(message, advice="Its own messages say why.")

    def read(name: str) -> bytes:
        content = (given / name).read_bytes()
        nonce, run = content[:NONCE_BYTES], (given / RUN).read_bytes()
        return cipher.decrypt(nonce, content[NONCE_BYTES:], run + name.encode())

    try:
        measured = IngestionResult.model_validate_json(read(MEASURED))
        for number, name in enumerate(measured.images):
            (target / name).write_bytes(read(str(number)))
    except (OSError, ValueError, InvalidTag):
        message = "the output of the ingestion program was altered, so nothing is scored"
        raise DataError(message, advice="Submit code that leaves it alone.") from None
    return measured
