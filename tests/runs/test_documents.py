import hashlib
import json
from pathlib import Path

import pytest
from builders import run

from esrbench.errors import RecordError
from esrbench.records import RunRecord
from esrbench.runs.documents import DamagedError, decode, encode, read_any

GOLDEN = Path(__file__).parent / "golden"
HERE = Path("x.json")


@pytest.fixture
def record(make_record):
    return make_record("net", {"params": 1234, "psnr_rgb": 29.123456789})


def test_the_file_is_json_whose_other_lines_have_the_sha256_of_the_first(record, tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(encode(record))
    document = json.loads(path.read_text())
    said = document.pop("sha256")
    assert document == record.model_dump(mode="json")
    rest = run("tail", "-n", "+2", path).stdout
    assert hashlib.sha256(rest.encode()).hexdigest() == said


def test_a_flipped_bit_anywhere_is_found(record):
    content = bytearray(encode(record))
    first_line = content.index(b"\n") + 1
    assert decode(HERE, bytes(content), RunRecord) == record
    for place in range(len(content)):
        for bit in range(8) if place < first_line else [place % 8]:
            content[place] ^= 1 << bit
            with pytest.raises(DamagedError, match=r"^x\.json: corrupt: "):
                decode(HERE, bytes(content), RunRecord)
            content[place] ^= 1 << bit


def test_a_file_cut_short_anywhere_is_found(record):
    content = encode(record)
    for length in [*range(100), *range(100, len(content), 97), len(content) - 1]:
        with pytest.raises(DamagedError):
            decode(HERE, content[:length], RunRecord)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not readable as JSON"),
        (b'{"schema_version": 2', "not readable as JSON"),
        (b"[" * 100_000, "not readable as JSON"),
        (b"\xff\xfe", "not readable as JSON"),
        (b'{"schema_version": 2}', "its first line is not its SHA-256"),
    ],
)
def test_what_no_writer_finished_is_corrupt(content, says):
    with pytest.raises(DamagedError, match=says):
        decode(HERE, content, RunRecord)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[]", "schema version None, expected 2"),
        (b'{"schema_version": 1, "run_id": 7}', "schema version 1, expected 2"),
        (b'{"schema_version": 3, "new": {}}', "schema version 3, expected 2"),
    ],
)
def test_what_is_of_another_version_is_not_corrupt(content, says):
    with pytest.raises(RecordError, match=says) as caught:
        decode(HERE, content, RunRecord)
    assert not isinstance(caught.value, DamagedError)


def test_an_intact_document_of_other_fields_is_refused_by_name(record):
    class Wider(RunRecord):
        surprise: int = 1

    content = encode(Wider.model_validate(record.model_dump()))
    with pytest.raises(RecordError, match="field surprise: no such field") as caught:
        decode(HERE, content, RunRecord)
    assert not isinstance(caught.value, DamagedError)


def test_a_record_of_version_1_is_refused_with_what_to_do():
    with pytest.raises(RecordError, match=r"run-1\.json: schema version 1, expected 2") as caught:
        read_any(GOLDEN / "run-1.json")
    assert caught.value.advice == "Read it with the esrbench version that wrote it."


def test_a_record_of_version_2_reads():
    record = read_any(GOLDEN / "run-2.json")
    assert (record.entry.name, record.status) == ("bicubic", "ok")
    assert record.quality.images[0].psnr_rgb == 47.68876698375857
    (replicate,) = record.latency.replicates
    assert len(replicate.fixed.delivered_seconds) == 2
    assert record.measured("params") == 0
    again = decode(HERE, encode(record), RunRecord)
    assert again == record
