"""The pipelined pass against the same steps done one after another."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from esrbench.data.codecs import pixel_digest, read_rgb, write_png
from esrbench.data.pairs import ImagePair, ImagePairs
from esrbench.data.resize import upscale
from esrbench.errors import DataError, MeasurementError, RecordError
from esrbench.probes.quality import score_image
from esrbench.protocol import QualityDefinition
from esrbench.runs import quality_pass
from esrbench.runs.quality_pass import score_images, upscale_images
from esrbench.worker.failure import WorkerError

NAMES = tuple(f"080{number}" for number in range(1, 8))
DEFINITION = QualityDefinition()


def bicubic(lr, _name):
    return upscale(lr, 4, border="mirror")


@pytest.fixture
def pairs(tmp_path):
    """Seven pairs of noise at x4, of two sizes."""
    rng = np.random.default_rng(7)
    made = []
    for index, name in enumerate(NAMES):
        hr = rng.integers(0, 256, (64, 48 + 16 * (index % 2), 3), dtype=np.uint8)
        pair = ImagePair(name, tmp_path / f"{name}x4.png", tmp_path / f"{name}.png")
        write_png(pair.hr, hr)
        write_png(pair.lr, np.ascontiguousarray(hr[::4, ::4]))
        made.append(pair)
    return ImagePairs("noise", "noise", 4, tuple(made))


def no_thread_is_left():
    return not any(thread.name.startswith("esrbench-images") for thread in threading.enumerate())


def test_scores_are_those_of_one_image_after_another(pairs, tmp_path):
    seen = []
    folder = tmp_path / "sr" / "rfdn"
    scores, digests = score_images(
        bicubic, pairs, scale=4, definition=DEFINITION, sr_folder=folder, on_image=seen.append
    )
    assert tuple(seen) == NAMES
    for pair, score in zip(pairs.pairs, scores, strict=True):
        sr = bicubic(read_rgb(pair.lr), pair.name)
        hr = read_rgb(pair.hr)
        assert score == score_image(sr, hr, scale=4, definition=DEFINITION, image=pair.name)
        assert digests[pair.name] == pixel_digest(sr)
        assert np.array_equal(read_rgb(folder / f"{pair.name}x4.png"), sr)
    assert len(list(folder.iterdir())) == len(NAMES)
    assert no_thread_is_left()


def test_reading_and_scoring_overlap_the_forward(pairs, monkeypatch):
    # Every forward waits until the pair after the next is read and the last image is scored.
    read = {pair.name: threading.Event() for pair in pairs.pairs}
    scored = {pair.name: threading.Event() for pair in pairs.pairs}
    read_hr = ImagePairs.read_hr

    def reading(these, index):
        pixels = read_hr(these, index)
        read[NAMES[index]].set()
        return pixels

    def forward(lr, name):
        index = NAMES.index(name)
        for ahead in NAMES[index : index + 3]:
            assert read[ahead].wait(20)
        for behind in NAMES[max(0, index - 1) : index]:
            assert scored[behind].wait(20)
        return bicubic(lr, name)

    def score(_sr, _hr, name):
        scored[name].set()
        return name

    monkeypatch.setattr(ImagePairs, "read_hr", reading)
    results = upscale_images(forward, pairs, score=score)
    assert tuple(name for name, _ in results) == NAMES


@pytest.mark.parametrize(("cpus", "behind"), [(1, 1), (2, 1), (4, 3), (64, 4)])
def test_few_images_are_in_flight(pairs, monkeypatch, cpus, behind):
    monkeypatch.setattr(quality_pass, "cpus_available", lambda: cpus)
    started, finished, most = 0, 0, 0
    lock = threading.Lock()
    read_lr = ImagePairs.read_lr

    def reading(these, index):
        nonlocal started, most
        with lock:
            started += 1
            most = max(most, started - finished)
        return read_lr(these, index)

    def score(*_):
        nonlocal finished
        time.sleep(0.02)  # scoring is the slowest step, so that all else piles up
        with lock:
            finished += 1

    monkeypatch.setattr(ImagePairs, "read_lr", reading)
    upscale_images(bicubic, pairs, score=score)
    assert finished == len(NAMES)
    assert most <= quality_pass.READ_AHEAD + behind + 1


def test_an_earlier_error_comes_first_even_if_it_is_found_later(pairs):
    fourth_began = threading.Event()

    def forward(lr, name):
        if name == "0804":
            fourth_began.set()
            raise WorkerError("oom", "oom: no memory", fatal=False)
        return bicubic(lr, name)

    def score(_sr, _hr, name):
        if name == "0803":
            assert fourth_began.wait(20)
            raise MeasurementError(f"{name}: cannot be scored")

    with pytest.raises(MeasurementError, match="0803: cannot be scored"):
        upscale_images(forward, pairs, score=score)
    assert no_thread_is_left()


def test_a_worker_that_fails_on_an_image_says_on_which(pairs):
    def forward(lr, name):
        if name == "0803":
            raise WorkerError("oom", "no memory", advice="less", fatal=True)
        return bicubic(lr, name)

    with pytest.raises(WorkerError, match=r"^oom: image 0803: no memory") as caught:
        score_images(forward, pairs, scale=4, definition=DEFINITION)
    assert (caught.value.kind, caught.value.advice, caught.value.fatal) == ("oom", "less", True)


def test_an_image_that_vanished_is_named(pairs):
    gone = replace(pairs.pairs[5], hr=pairs.pairs[5].hr.with_name("gone.png"))
    changed = replace(pairs, pairs=(*pairs.pairs[:5], gone, *pairs.pairs[6:]))
    seen = []
    with pytest.raises(DataError, match=r"gone\.png: found no readable file"):
        score_images(bicubic, changed, scale=4, definition=DEFINITION, on_image=seen.append)
    assert seen == list(NAMES[:6])
    assert no_thread_is_left()


def test_a_misshapen_sr_image_is_named(pairs, tmp_path):
    with pytest.raises(MeasurementError, match=r"0801: the SR image is uint8 \(16, 12, 3\)"):
        score_images(
            lambda lr, _: lr, pairs, scale=4, definition=DEFINITION, sr_folder=tmp_path / "sr"
        )
    assert list((tmp_path / "sr").iterdir()) == []


def test_ctrl_c_ends_the_pass_and_its_threads(pairs):
    def forward(lr, name):
        if name == "0803":
            raise KeyboardInterrupt
        return bicubic(lr, name)

    with pytest.raises(KeyboardInterrupt):
        score_images(forward, pairs, scale=4, definition=DEFINITION)
    assert no_thread_is_left()


def test_sr_images_that_cannot_be_written_end_the_pass(pairs, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="file: SR images cannot be written"):
        score_images(bicubic, pairs, scale=4, definition=DEFINITION, sr_folder=tmp_path / "file")
    folder = tmp_path / "sr"
    (folder / "0802x4.png").mkdir(parents=True)
    with pytest.raises(RecordError, match=r"0802x4\.png: SR images cannot be written"):
        score_images(bicubic, pairs, scale=4, definition=DEFINITION, sr_folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["0801x4.png", "0802x4.png"]


def test_no_images_give_no_scores(pairs):
    nothing = replace(pairs, pairs=())
    assert score_images(bicubic, nothing, scale=4, definition=DEFINITION) == ((), {})
