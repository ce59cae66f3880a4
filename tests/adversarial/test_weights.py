"""Weights files that are programs, bombs or lies: none is loaded, and nothing in them runs."""

import hashlib
import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from esrbench.entries.networks import resolve_weights
from esrbench.errors import WeightsError
from esrbench.runs.plan import plan_suite
from esrbench.runs.store import Store
from esrbench.runs.suite import run_suite
from esrbench.worker.failure import WorkerError
from esrbench.worker.launcher import open_launcher

SCALE = 4


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def saved(content, *, zipped=True):
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def state(honest):
    return {key: torch.from_numpy(each) for key, each in honest.items()}


def torchscript():
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and told of in another way by each torch
        torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 3, 1)), buffer)
    return buffer.getvalue()


def deflated(honest):
    """The same checkpoint with its zeros packed a thousandfold."""
    bomb = saved({**state(honest), "zeros": torch.zeros(1 << 24)})
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(bomb)) as before,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as after,
    ):
        for member in before.infolist():
            after.writestr(member.filename, before.read(member))
    return buffer.getvalue()


def stretched(honest):
    """A tensor of a million million elements in four bytes."""
    return saved({**state(honest), "zeros": torch.zeros(1).expand(1 << 20, 1 << 20)})


def with_nan(honest):
    bias = honest["head.bias"].copy()
    bias[7] = np.nan
    return save({**honest, "head.bias": bias})


def huge_header(_):
    return struct.pack("<Q", 1 << 62) + b"{}"


def overlapping(honest):
    """Tensors of safetensors that share one another's bytes."""
    content = save(honest)
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    header["head.bias"]["data_offsets"] = header["tail.bias"]["data_offsets"]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


ROWS = [
    # name, row of the study, name of the file, its content, and what is said of it
    ("pickle in a zip", 1, "w.pth", lambda _, canary: saved(Evil(canary)), "program|mkdir"),
    (
        "pickle of old",
        1,
        "w.pth",
        lambda _, canary: saved(Evil(canary), zipped=False),
        "program|mkdir",
    ),
    (
        "bare pickle",
        1,
        "w.pt",
        lambda _, canary: pickle.dumps(Evil(canary)),
        "not a PyTorch checkpoint",
    ),
    (
        "pickle beside weights",
        1,
        "w.ckpt",
        lambda honest, canary: saved({**state(honest), "extra": Evil(canary)}),
        "program|mkdir",
    ),
    ("whole module", 1, "w.pth", lambda *_: saved(torch.nn.Conv2d(3, 3, 1)), "program|Conv2d"),
    ("TorchScript", 1, "w.pt", lambda *_: torchscript(), "TorchScript|program"),
    ("deflate bomb", 1, "w.pth", lambda honest, _: deflated(honest), "compressed|stored"),
    ("stretched tensor", 1, "w.pth", lambda honest, _: stretched(honest), "zeros"),
    ("one NaN", 1, "w.safetensors", lambda honest, _: with_nan(honest), "finite|NaN"),
    ("huge header", 1, "w.safetensors", lambda honest, _: huge_header(honest), "header"),
    ("overlap", 1, "w.safetensors", lambda honest, _: overlapping(honest), "safetensors"),
    ("truncated", 1, "w.safetensors", lambda honest, _: save(honest)[:-9], "truncated"),
]


@pytest.fixture(scope="module")
def canaries(tmp_path_factory):
    return tmp_path_factory.mktemp("canaries")


@pytest.fixture(scope="module")
def entries(submissions, canaries):
    for number, (_, _, file, make, _) in enumerate(ROWS):
        content = make(submissions.honest_weights, canaries / str(number))
        submissions.add(
            f"weights-{number}",
            source=submissions.source("honest"),
            content=content,
            weights_name=file,
        )
    return submissions.register()


@pytest.fixture(scope="module")
def unconfined(entries, small):
    """A worker that no sandbox would keep from running a program."""
    networks = [(entry, resolve_weights(entry, SCALE)) for entry in entries]
    with open_launcher("subprocess").worker(
        *networks, protocol=small, timeout_seconds=60
    ) as session:
        yield session


@pytest.mark.parametrize("number", range(len(ROWS)), ids=[row[0] for row in ROWS])
def test_a_bad_file_is_refused_and_nothing_in_it_runs(number, entries, unconfined, small, canaries):
    entry = entries.get(f"cheat-weights-{number}")
    with pytest.raises(WorkerError, match=ROWS[number][4]) as caught:
        unconfined.load(entry, SCALE, weights=resolve_weights(entry, SCALE), protocol=small)
    assert caught.value.kind == "load-error"
    assert not caught.value.fatal
    assert caught.value.advice
    assert not (canaries / str(number)).exists()


def test_the_programs_are_real(canaries):
    canary = canaries / "real"
    torch.load(io.BytesIO(saved(Evil(canary))), weights_only=False)
    assert canary.is_dir()


def test_a_flipped_bit_is_a_load_error_of_its_entry_alone(
    submissions, photographs, small, tmp_path
):
    content = bytearray(save(submissions.honest_weights))
    declared = save(submissions.honest_weights)
    content[-3] ^= 0x40
    submissions.add(
        "flipped",
        source=submissions.source("honest"),
        content=bytes(content),
        declared={"sha256": hashlib.sha256(declared).hexdigest()},
    )
    # It is a file that can be loaded: only its checksum tells.
    assert len(content) == len(declared)
    submissions.add("whole", source=submissions.source("honest"))
    suite = plan_suite(
        submissions.register(),
        ["cheat-flipped", "cheat-whole"],
        [str(photographs)],
        SCALE,
        weights={},
        protocol=small.model_copy(update={"latency": None}),
    )
    records = {each.entry.name: each for each in run_suite(suite, Store(tmp_path / "results"))}
    assert records["cheat-flipped"].status == "load-error"
    assert "SHA-256" in (records["cheat-flipped"].cause or "")
    assert records["cheat-whole"].status == "ok"


def test_weights_may_not_lie_elsewhere(submissions, photographs):
    hr = photographs / "HR" / "photo0.png"
    submissions.add("elsewhere", source=submissions.source("honest"))
    folder = submissions.folder / "cheat-elsewhere"
    (folder / "weights.safetensors").unlink()
    (folder / "weights.safetensors").symlink_to(hr)
    with pytest.raises(WeightsError, match="out of"):
        resolve_weights(submissions.register().get("cheat-elsewhere"), SCALE)
