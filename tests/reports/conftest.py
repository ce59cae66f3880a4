from functools import partial

import builders
import pytest

from esrbench.data.crops import CropFolder, crops_of
from esrbench.data.datasets import open_dataset
from esrbench.records import ImageScore, Quality
from esrbench.runs.store import Store


@pytest.fixture(scope="session")
def make_run():
    """A record on Set5, proven to be it; fields as ``builders.record`` takes them."""
    return partial(builders.record, data="set5", verified=True)


@pytest.fixture(scope="session")
def stored(make_record, tmp_path_factory):
    """A store with two runs on the demo images that kept crops; HR plus noise of two strengths."""
    pairs = open_dataset("demo", 4)
    identity = pairs.identity()
    store = Store(tmp_path_factory.mktemp("stored") / "results")
    places = crops_of(pairs, store.crops_of(identity.digest))
    for number, name in enumerate(("rfdn", "imdn")):
        scores = tuple(
            ImageScore(image=pair.name, psnr_rgb=28.0 + number, psnr_y=29.0, ssim_y=0.8)
            for pair in pairs.pairs
        )
        record = make_record(
            name, {"psnr_rgb": 28.0}, digest=identity.digest, fingerprint=f"{number + 1}" * 64
        )
        store.put(record.model_copy(update={"quality": Quality(definition="d", images=scores)}))
        folder = CropFolder(store.crops_of(record.fingerprint), places)
        for index, pair in enumerate(pairs.pairs):
            folder.keep(pair.name, pairs.read_hr(index) // (number + 1))
    return store, places, identity
