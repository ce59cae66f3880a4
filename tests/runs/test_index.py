"""The index beside the records: it spares reading them, and says what they say."""

import json
import os

import builders
import pytest

from esrbench.files import Files
from esrbench.ranking.leaderboard import build_leaderboard
from esrbench.ranking.rules import RULES
from esrbench.records import Absent, ImageScore, Quality
from esrbench.runs import index, store
from esrbench.runs.documents import with_checksum, without_checksum
from esrbench.runs.index import decode_index, encode_index, without_samples
from esrbench.runs.publication import public_records
from esrbench.runs.store import Store


class Counting(Files):
    """Real operations; names of the files that were read."""

    def __init__(self):
        self.read_names = []

    def read(self, path):
        self.read_names.append(path.name)
        return super().read(path)


@pytest.fixture(autouse=True)
def _eager(monkeypatch):
    """Index few records, and those of just now."""
    monkeypatch.setattr(store, "FEWEST", 1)
    monkeypatch.setattr(index, "SETTLED_NS", -1_000_000_000)


@pytest.fixture
def records(make_record):
    """Entries timed by three processes, one of them failed, in two sessions."""
    made = []
    for number, name in enumerate("abc"):
        replicates = [builders.replicate(index=index) for index in range(3)]
        latency = builders.latency(*replicates, session=f"of-{name}")
        values = {
            "params": 1000 + number,
            "runtime_images": builders.value(0.1 + number, 0.09 + number, 0.2 + number),
            "psnr_rgb": "random weights",
        }
        made.append(make_record(name, values, latency=latency, log_tail="a line"))
    crashed = Absent(kind="failed", reason="it ended", failure="crash")
    failed = make_record("d", {}, status="crash", cause="crash: it ended", quality=crashed)
    return [*made, failed]


@pytest.fixture
def stored(records, tmp_path):
    """A folder that holds them, and an index of them."""
    kept = Store(tmp_path)
    for record in records:
        kept.put(record)
    kept.load(samples=False)
    return kept


def loaded(kept):
    """What the store loads, and which files it reads for that."""
    files = Counting()
    return *Store(kept.folder, files=files).load(samples=False), files.read_names


def test_records_come_from_the_index_alone(stored, records):
    found, notices, read = loaded(stored)
    assert (found, notices) == ([without_samples(each) for each in records], [])
    assert read == [".index.json"]
    assert stored.load() == (records, [])


def test_without_samples_a_record_ranks_as_it_does_with_them(stored, records):
    thin, _, _ = loaded(stored)
    assert build_leaderboard(thin, RULES["ntire2022"]) == build_leaderboard(
        records, RULES["ntire2022"]
    )
    assert thin[0].latency.replicates[0].images.kind == "skipped"
    assert thin[3].quality == records[3].quality


def test_names_of_hidden_images_are_known_to_whoever_leaves_them_out(make_record, tmp_path):
    score = ImageScore(image="0901", psnr_rgb=None, psnr_y=30.0, ssim_y=0.9)
    why = "image 0901 is reproduced without error: its PSNR is infinite"
    record = make_record(
        "a", {"psnr_rgb": why}, quality=Quality(definition="PSNR", images=(score,))
    )
    hidden = record.model_copy(update={"data": record.data.model_copy(update={"hidden": True})})
    Store(tmp_path).put(hidden)
    for _ in range(2):
        thin, _, _ = loaded(Store(tmp_path))
        (public,) = public_records(thin)
        assert "0901" not in public.model_dump_json()
        assert "image 1 is reproduced without error" in public.values["psnr_rgb"].reason
    assert without_samples(record).quality.kind == "skipped"


def test_samples_are_read_for_those_that_are_shown(stored, records):
    thin, _, _ = loaded(stored)
    assert [stored.with_samples(each) for each in thin] == records
    (stored.runs / f"{records[0].run_id}.json").unlink()
    assert stored.with_samples(thin[0]) == thin[0]


def test_a_record_that_was_replaced_is_read_again(stored, records):
    changed = records[1].model_copy(update={"duration_seconds": 9.0})
    path = stored.put(changed)
    found, _, read = loaded(stored)
    assert found[1] == without_samples(changed)
    assert read == [".index.json", path.name]
    assert loaded(stored)[2] == [".index.json"]


def test_a_record_changed_in_place_with_its_size_and_times_kept_is_read_again(stored, records):
    path = stored.runs / f"{records[0].run_id}.json"
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1000", b"1001"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    found, (notice,), _ = loaded(stored)
    # It is not what was stored, as its checksum tells.
    assert notice.code == "corrupt-record"
    assert [each.entry.name for each in found] == ["b", "c", "d"]


def test_records_that_came_and_went_are_noticed(stored, records, make_record):
    (stored.runs / f"{records[2].run_id}.json").unlink()
    new = make_record("e")
    stored.put(new)
    found, _, read = loaded(stored)
    assert {each.entry.name for each in found} == {"a", "b", "d", "e"}
    assert read == [".index.json", f"{new.run_id}.json"]
    assert loaded(stored)[2] == [".index.json"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"1000", b"1001"),
        lambda _: b"{}\n",
        lambda _: b'{"version":4,"parts":[],"runs":3}\n',
        lambda content: content.replace(b'"version":4', b'"version":0'),
        lambda _: b"\xff" * 100,
    ],
)
def test_a_damaged_index_is_made_anew(stored, records, spoil):
    path = stored.runs / ".index.json"
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    found, notices, _ = loaded(stored)
    assert (found, notices) == ([without_samples(each) for each in records], [])
    assert decode_index(path, path.read_bytes()) == decode_index(path, content)


def test_an_index_that_does_not_fit_the_records_is_no_index(records, tmp_path):
    rows = {"a.json": ((1, 2, 3, 4), without_samples(records[0]))}
    content = encode_index(rows)
    assert decode_index(tmp_path, content) == rows
    # With a checksum that holds, as another version might write it.
    body, _ = without_checksum(tmp_path, content)
    odd = with_checksum(body.replace(b'"status":"ok"', b'"status":"dreaming"'))
    assert odd != content
    assert decode_index(tmp_path, odd) == {}


def test_what_records_share_stands_in_the_index_once(stored, records):
    body, _ = without_checksum(stored.runs, (stored.runs / ".index.json").read_bytes())
    values = json.loads(body)["parts"]["values"]
    texts = [json.dumps(each) for each in values]
    assert len(texts) == len(set(texts))
    assert {"value": 1000} in values
    assert records[0].value("psnr_rgb").model_dump(exclude_defaults=True) in values


def test_files_of_just_now_are_not_indexed(stored, monkeypatch):
    (stored.runs / ".index.json").unlink()
    monkeypatch.setattr(index, "SETTLED_NS", 3_600_000_000_000)
    found, _, read = loaded(stored)
    assert len(found) == len(read) - 1 == 4
    assert not (stored.runs / ".index.json").exists()


def test_few_records_need_no_index(stored, monkeypatch):
    (stored.runs / ".index.json").unlink()
    monkeypatch.setattr(store, "FEWEST", 5)
    assert len(loaded(stored)[0]) == 4
    assert not (stored.runs / ".index.json").exists()


def test_a_folder_that_cannot_be_written_is_read_without_an_index(stored, records):
    class ReadOnly(Counting):
        def create(self, path):
            raise PermissionError(path)

    (stored.runs / ".index.json").unlink()
    found, notices = Store(stored.folder, files=ReadOnly()).load(samples=False)
    assert (len(found), notices) == (len(records), [])
    assert not (stored.runs / ".index.json").exists()


def test_corrupt_records_are_set_aside_whether_indexed_or_not(stored):
    (stored.runs / "x.json").write_bytes(b"torn")
    found, (notice,), _ = loaded(stored)
    assert (len(found), notice.code) == (4, "corrupt-record")
    found, (reminder,), read = loaded(stored)
    assert (len(found), reminder.code) == (4, "set-aside-records")
    assert read == [".index.json"]
    assert (stored.runs / ".corrupt-x.json").is_file()
