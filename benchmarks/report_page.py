"""CPU time and size of `esrbench report` for 10, 50 and 500 entries of 100 images each, as a table.

    esrbench run rfdn --data demo --processes 3 --results measured
    python benchmarks/report_page.py measured

Every entry is a copy of the newest record of a network under another name, with its images under
100 names, and with crops.
"""

from __future__ import annotations

import hashlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from esrbench.data.crops import CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.records import Latency, Quality
from esrbench.runs.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esrbench.records import RunRecord

COUNTS = (10, 50, 500)
IMAGES = 100


def entry(template: RunRecord, number: int, images: int) -> RunRecord:
    """A copy of a record under a name of its own, on so many images, with other figures."""
    drawn = random.Random(number)  # noqa: S311 - figures to draw
    name, factor = f"entry-{number:03}", drawn.uniform(0.3, 3.0)
    quality, latency = template.quality, template.latency
    if isinstance(quality, Quality):
        scores = tuple(
            quality.images[n % len(quality.images)].model_copy(
                update={"image": f"{n:04}", "psnr_rgb": drawn.gauss(28, 1)}
            )
            for n in range(images)
        )
        quality = quality.model_copy(update={"images": scores})
    if isinstance(latency, Latency):
        replicates = []
        for replicate in latency.replicates:
            timed = replicate.timed_images
            samples = tuple(
                timed[n % len(timed)].model_copy(
                    update={
                        "input_name": f"{n:04}",
                        "seconds": tuple(
                            each * factor * drawn.gauss(1, 0.02)
                            for each in timed[n % len(timed)].seconds
                        ),
                    }
                )
                for n in range(images)
            )
            replicates.append(replicate.model_copy(update={"images": samples}))
        latency = latency.model_copy(update={"replicates": tuple(replicates)})
    values = {
        key: value.model_copy(update={"value": value.value * factor, "interval": None})
        if hasattr(value, "value")
        else value
        for key, value in template.values.items()
    }
    return template.model_copy(
        update={
            "run_id": f"{template.run_id}-{number:03}",
            "fingerprint": hashlib.sha256(name.encode()).hexdigest(),
            "status": "ok",
            "entry": template.entry.model_copy(update={"name": name}),
            "quality": quality,
            "latency": latency,
            "values": values,
        }
    )


def fill(store: Store, template: RunRecord, count: int, images: int) -> None:
    """Store so many entries with crops; all have the same crops."""
    pairs = open_dataset("demo", template.entry.scale)
    crops = crops_of(pairs, store.crops_of(template.data.digest))
    first = store.folder / "first"
    kept = CropFolder(first, crops)
    for index, pair in enumerate(pairs.pairs):
        kept.keep(pair.name, pairs.read_hr(index))
    for number in range(count):
        record = entry(template, number, images)
        store.put(record)
        shutil.copytree(first, store.crops_of(record.fingerprint))


def report(folder: Path) -> tuple[float, int]:
    """CPU seconds of the command, and bytes of its page."""
    page = folder / "report.html"
    command = [str(Path(sys.executable).with_name("esrbench")), "report", "-o", str(page)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--results", str(folder)], check=True, capture_output=True)  # noqa: S603
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, page.stat().st_size


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    records, _ = Store(Path(arguments[0])).load()
    template = [each for each in records if each.entry.role == "network"][-1]
    print("| entries | images | CPU time [s] | page [MB] |")  # noqa: T201 - a script's output
    print("|---:|---:|---:|---:|")  # noqa: T201 - likewise
    for count in map(int, arguments[1:] or COUNTS):
        with tempfile.TemporaryDirectory() as folder:
            fill(Store(Path(folder)), template, count, IMAGES)
            seconds, size = min(report(Path(folder)) for _ in range(3))
        print(f"| {count} | {IMAGES} | {seconds:.1f} | {size / 1e6:.1f} |", flush=True)  # noqa: T201 - likewise


if __name__ == "__main__":
    main(sys.argv[1:])
