"""Valid records with plain values: a test states only the fields that it is about."""

import csv
import io
import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from esrbench.data.codecs import write_png
from esrbench.data.resize import downscale
from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights
from esrbench.environment import describe_environment
from esrbench.gate.verdicts import Finding, GateReport
from esrbench.metrics import METRICS
from esrbench.paired.judging import judge
from esrbench.protocol import LatencyDesign, PairDesign, Protocol, TrustDesign, digest_of
from esrbench.records import (
    Absent,
    Block,
    Complexity,
    DataIdentity,
    EntryIdentity,
    Interval,
    Latency,
    LatencySamples,
    NullSamples,
    PairedBatch,
    PairedProcess,
    PredictedMemory,
    RaceRecord,
    Replicate,
    RunRecord,
    Value,
    WeightsIdentity,
)
from esrbench.reports.formats import render

SMALL, LARGE = (8, 8), (8, 16)
NULL = {SMALL: (0.010, 0.012, 0.014), LARGE: (0.020, 0.021, 0.030)}
"""Delivery of the null network: medians 12 and 21 ms, median absolute deviations 2 and 1 ms."""
NULL_MEDIANS = {size: float(np.median(seconds)) for size, seconds in NULL.items()}
TWO_ROUNDS = LatencyDesign(
    warmup_rounds=1, max_warmup_rounds=1, min_rounds=2, max_rounds=2, target_half_width=0
)
LENIENT = TrustDesign(
    claim_tolerance=1e6,
    noise_share=1e9,
    caching_ratio=1e-9,
    later_ratio=1e-9,
    memorising_db=1e3,
    scored_variants=0,
    idle_cpus=1e6,
    extra_cpus=1e6,
    busy_share=1e6,
)
"""Of networks of microseconds on a busy machine no verdict holds; verdicts have their own tests."""
TWO_PROCESSES = Protocol(
    threads=1,
    counted_input=(16, 16),
    memory_input=(16, 16),
    latency=TWO_ROUNDS.model_copy(update={"processes": 2}),
    trust=LENIENT.model_copy(update={"repeated_rounds": 0}),
)
LENIENT_TABLES = """[protocol.latency]
max_rounds = 2
min_rounds = 2
warmup_rounds = 1
[protocol.trust]
busy_share = 1e6
claim_tolerance = 1e6
noise_share = 1e9
caching_ratio = 1e-9
later_ratio = 1e-9
repeated_rounds = 0
scored_variants = 0
idle_cpus = 1e6
extra_cpus = 1e6
memorising_db = 1e3
"""
"""The like, as the end of a challenge file."""
_numbers = itertools.count()


def run(*command, code=0, folder=None, words=None, **environment):
    """Run a command, which must end with that code (None for any); what came of it.

    Args:
        folder: to run in.
        words: that it reads.
        environment: variables beside those of the tests; None takes one away.
    """
    known = {**os.environ, **environment}
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        capture_output=True,
        text=True,
        input=words,
        cwd=folder,
        env={name: value for name, value in known.items() if value is not None},
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def shown(table, form="terminal", *, width=200, styled=False):
    """A table as a command prints it."""
    text = render(table, form)
    if isinstance(text, str):
        return text
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=styled)
    console.print(text)
    return console.export_text(styles=styled)


def csv_rows(table):
    """The rows that a table has as CSV, by column."""
    return list(csv.DictReader(io.StringIO(render(table, "csv"))))


def edit(path, old, new):
    """Replace the first of a text in a file, which must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def entry(name, **fields):
    """The identity of a network at x4."""
    given = {
        "name": name,
        "scale": 4,
        "factory": "somewhere:Net",
        "origin": "tests",
        "code_sha256": None,
        "role": "network",
        "weights": WeightsIdentity(source="random"),
    }
    return EntryIdentity(**(given | fields))


def value(middle, low, high, method="student"):
    """A noisy value with its interval."""
    interval = Interval(low=low, high=high, confidence=0.95, method=method)
    return Value(value=middle, interval=interval)


def _value(given):
    if isinstance(given, str):
        return Absent(kind="unavailable", reason=given)
    return given if isinstance(given, Value) else Value(value=float(given))


def record(name, values=None, *, scale=4, threads=2, **fields):
    """A run record; everything that is not given is plausible and constant.

    Args:
        values: by metric, numbers or values; a text is the reason why one is absent.
        fields: ``weights`` is their source, ``prepare`` and ``role`` are the entry's, ``entry``
            holds further ones; ``data`` is a name, ``title``, ``digest`` and ``verified`` are the
            data's; others are the record's own.
    """
    given = values or {}
    protocol = fields.pop("protocol", Protocol())
    environment = describe_environment(threads=threads, accelerator=None)
    of_entry = {"scale": scale, "weights": WeightsIdentity(source=fields.pop("weights", "file"))}
    of_entry |= {key: fields.pop(key) for key in ("prepare", "role") if key in fields}
    data = {"name": fields.pop("data", "demo"), "digest": fields.pop("digest", "0" * 64)}
    title, verified = fields.pop("title", data["name"]), fields.pop("verified", False)
    absent = Absent(kind="skipped", reason="not in this test")
    known = {
        "run_id": f"run-{name}-{next(_numbers)}",
        "created": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(_numbers)),
        "duration_seconds": 1.0,
        "fingerprint": "f" * 64,
        "status": "ok",
        "entry": entry(name, **(of_entry | fields.pop("entry", {}))),
        "data": DataIdentity(scale=scale, title=title, images=5, verified=verified, **data),
        "protocol": protocol,
        "protocol_digest": protocol.digest(),
        "environment": environment,
        "environment_digest": digest_of(environment),
        **dict.fromkeys(("complexity", "latency", "memory", "quality", "trust"), absent),
        "values": {key: _value(given[key]) if key in given else absent for key in METRICS},
    }
    return RunRecord(**(known | fields))


BLOCKS = tuple(
    Block(
        name=name,
        kind="Conv2d",
        output_shape=(1, 3, 8, 8),
        params=1,
        macs=macs,
        activations=macs,
        allocated_bytes=1,
    )
    for name, macs in (("(network)", 400), ("body", 300), ("body.0", 200), ("tail", 100))
)


def counted(record, **fields):
    """The record of a network of two blocks, one of which holds a third, that needs 3 MiB."""
    absent = Absent(kind="skipped", reason="not in this test")
    memory = PredictedMemory(
        input_size=(510, 510),
        weights_bytes=2**20,
        input_bytes=0,
        output_bytes=0,
        peak_bytes=3 * 2**20,
        allocator_bytes=(0, 0),
        peak_operator="aten::relu",
        timeline=(2**20, 3 * 2**20, 2**20),
    )
    sizes = ("params", "trainable_params", "weight_params", "buffer_elements", "state_bytes")
    given = {"counters": {}, "audit": absent, "predicted_memory": memory, "blocks": BLOCKS}
    complexity = Complexity(**dict.fromkeys(sizes, 0), **(given | fields))
    return record.model_copy(update={"complexity": complexity})


def finding(verdict="regressed", **fields):
    """What the gate says of RFDN's parameters."""
    given = {
        "entry": "rfdn",
        "scale": 4,
        "metric": "params",
        "before": 433_448,
        "now": 433_449,
        "reason": "433,448 then, 433,449 now: +1",
    }
    return Finding.model_validate(given | {"verdict": verdict} | fields)


def gate_report(*findings, **fields):
    return GateReport(baseline="baseline.json", findings=findings, **fields)


def samples(name="fixed", size=SMALL, **fields):
    """Times of an honest network that takes 100 ms beyond the null network's time."""
    median = NULL_MEDIANS.get(size, 0.0)
    given = {
        "input_name": name,
        "lr_size": size,
        "clock": "monotonic",
        "first_seconds": 0.3,
        "warmup_seconds": (0.3,),
        "steady": True,
        "seconds": (0.099, 0.1, 0.104),
        "delivered_seconds": (0.098 + median, 0.1 + median, 0.105 + median),
        "stopped_by": "max-rounds",
    }
    return LatencySamples(**(given | fields))


def replicate(*images, **fields):
    """A process that timed the fixed input and these images, or one of either size."""
    given = {
        "index": 0,
        "position": 0,
        "started": datetime(2026, 1, 1, tzinfo=UTC),
        "cpus": (0,),
        "cold_start_seconds": 0.3,
        "fixed": samples("fixed"),
        "images": images or (samples("a"), samples("b", LARGE)),
        "null": tuple(
            NullSamples(lr_size=size, delivered_seconds=each) for size, each in NULL.items()
        ),
    }
    return Replicate(**(given | fields))


def latency(*replicates, **fields):
    """These processes of an entry, or one."""
    given = {
        "session": "one",
        "order_seed": 0,
        "entries": ("net",),
        "variant_seed": 0,
        "replicates": replicates or (replicate(),),
    }
    return Latency(**(given | fields))


def write_files(folder, files):
    """Write text files by their paths in a folder; the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def git(folder, *arguments):
    """Run git as somebody; what it said."""
    settings = ("user.name=t", "user.email=t@example.org", "commit.gpgsign=false")
    settings += ("uploadpack.allowAnySHA1InWant=true",)
    options = [option for setting in settings for option in ("-c", setting)]
    return run("git", *options, "-C", folder, *arguments).stdout.strip()


def python(code, *arguments, **environment):
    """What a new interpreter prints that runs this code."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def race(
    ratio,
    *,
    names=("net", "reference"),
    pairs=90,
    self_half=0.001,
    set_aside=None,
    input_size=(48, 48),
    **environment,
):
    """A race of pairs about a ratio, 1 % to either side, looked at once and judged by the rule."""
    times = tuple((ratio * (1.01 if i % 2 else 1 / 1.01), 1.0) for i in range(pairs))
    half = 1 + self_half
    twins = tuple((half if i % 2 else 1 / half, 1.0) for i in range(pairs // 2))
    design = PairDesign(first_look=pairs, look_every=pairs, max_pairs=pairs)
    judgement = judge((), (), design, set_aside=pairs) if set_aside else judge(times, twins, design)
    described = describe_environment(threads=2, accelerator=None).model_copy(
        update={"cpu": "a processor", "packages": {"torch": "2.13.0"}, **environment}
    )
    batch = PairedBatch(pairs=times, self_pairs=twins, set_aside=set_aside)
    return RaceRecord(
        race_id=f"race-{names[0]}",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        duration_seconds=12.4,
        candidate=entry(names[0]),
        baseline=entry(names[1]),
        protocol=Protocol(counted_input=input_size),
        design=design,
        environment=described,
        environment_digest=digest_of(described),
        processes=(PairedProcess(cpus=(0,), batches=(batch,)),),
        estimate=judgement.estimate,
        self_check=judgement.self_check,
        verdict=judgement.verdict,
        reason=judgement.reason,
    )


def noise(seed, height=48, width=36):
    """An RGB image of noise: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_set(root, images, *, scales=(4,), prefix="", border="mirror"):
    """Write a data set of these HR images and their LR images: HR/ and LR_bicubic/X<scale>/."""
    for name, hr in images.items():
        files = {root / f"{prefix}HR" / f"{name}.png": hr}
        for scale in scales:
            lr = root / f"{prefix}LR_bicubic" / f"X{scale}" / f"{name}x{scale}.png"
            files[lr] = downscale(hr, scale, border=border)
        for path, pixels in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)
    return root


def descriptor(name="net", **fields):
    """A network at x4 whose factory nobody calls."""
    known = {"summary": "a network", "scales": (4,), "factory": "math:sqrt"}
    return ModelDescriptor.model_validate({"name": name, **known, **fields})


def released(scale=4, **fields):
    """The declaration of a weights file that is nowhere."""
    known = {"filename": "w.pth", "url": None, "bytes": 1, "sha256": "0" * 64, "licence": "MIT"}
    return ReleasedWeights.model_validate({"scale": scale, **known, **fields})


def checkpoint(folder, content, name="w.pth", *, zipped=True):
    """A file as ``torch.save`` writes it, in its present format or in the old one."""
    import torch

    path = folder / name
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


class Buffer(NamedTuple):
    """A tensor that ``step`` registers as a buffer, as ``nn.Buffer`` is since torch 2.5."""

    tensor: Any
    persistent: bool = True


def step(run, **parts):
    """A network whose forward is a function of it and its input; layers and tensors by name."""
    from torch import nn

    class Step(nn.Module):
        def forward(self, *given):
            return run(self, *given)

    network = Step()
    for name, part in parts.items():
        if isinstance(part, Buffer):
            network.register_buffer(name, *part)
        else:
            setattr(network, name, part)
    return network


def noisy_pairs(rng, n, *, ratio=1.0, noise=0.01):
    """Seconds of a baseline of about 1 s and of a candidate that is slower by a ratio, first."""
    base = np.exp(rng.normal(0, 0.07, n))
    slow = base * ratio * np.exp(rng.normal(0, noise, n))
    return list(zip(slow.tolist(), base.tolist(), strict=True))


def names(rows):
    """Entries of rows of a board, in order."""
    return [row.entry for row in rows]


def reasons(board):
    """Why entries of a board are not ranked, by name."""
    return {row.entry: row.unranked_because for row in board.unranked}
