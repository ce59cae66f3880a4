"""Valid records with plain values: a test states only the fields that it is about."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from typing import Any

import numpy as np

from esrbench.data.codecs import write_png
from esrbench.data.resize import downscale
from esrbench.entries.descriptor import ModelDescriptor, ReleasedWeights
from esrbench.environment import describe_environment
from esrbench.paired.judging import judge
from esrbench.protocol import PairDesign, Protocol, digest_of
from esrbench.records import (
    EntryIdentity,
    Latency,
    LatencySamples,
    NullSamples,
    PairedBatch,
    PairedProcess,
    RaceRecord,
    Replicate,
    WeightsIdentity,
)

SMALL, LARGE = (8, 8), (8, 16)
NULL = {SMALL: (0.010, 0.012, 0.014), LARGE: (0.020, 0.021, 0.030)}
"""Delivery of the null network: medians 12 and 21 ms, median absolute deviations 2 and 1 ms."""


def samples(name="fixed", size=SMALL, **fields):
    """Times of an honest network that takes 100 ms beyond the null network's time."""
    median = float(np.median(NULL.get(size, 0.0)))
    given: dict[str, Any] = {
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
    given: dict[str, Any] = {
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
    given: dict[str, Any] = {
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
    command = ["git", *options, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


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
    assert judgement is not None
    described = describe_environment(threads=2, accelerator=None).model_copy(
        update={"cpu": "a processor", "packages": {"torch": "2.13.0"}, **environment}
    )
    candidate, baseline = (
        EntryIdentity(
            name=name,
            scale=4,
            factory="somewhere:Net",
            origin="tests",
            code_sha256=None,
            role="network",
            weights=WeightsIdentity(source="random"),
        )
        for name in names
    )
    batch = PairedBatch(pairs=times, self_pairs=twins, set_aside=set_aside)
    return RaceRecord(
        race_id=f"race-{names[0]}",
        created=datetime(2026, 1, 1, tzinfo=UTC),
        duration_seconds=12.4,
        candidate=candidate,
        baseline=baseline,
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


def write_set(
    root,
    images,
    *,
    scales=(4,),
    prefix="",
    border="mirror",
):
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
