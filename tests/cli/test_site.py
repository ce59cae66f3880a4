"""``esrbench site``."""

import json

from esrbench.runs.store import Store

VALUES = {"psnr_rgb": 29.0, "runtime_images": 0.05, "params": 241_548}


def stored(work, *records):
    store = Store(work / "results")
    for record in records:
        store.put(record)
    return store


def test_a_folder_is_written(in_process, make_record, work):
    stored(work, make_record("rfdn", VALUES))
    done = in_process("site", "public", "--official", "ntire2022", code=0)
    written = {path.name for path in (work / "public").iterdir()}
    assert written == {
        ".nojekyll",
        "index.html",
        "demo_x4_fp32_ntire2022.html",
        "entry_rfdn.html",
        "official_ntire2022.html",
    }
    assert "public: 5 files" in done.stderr
    assert done.stdout == ""
    told = json.loads(in_process("site", "public", "--json", code=0).stdout)
    assert {each["file"]: each["bytes"] for each in told["files"]} == {
        name: (work / "public" / name).stat().st_size
        for name in written - {"official_ntire2022.html"}
    }


def test_nothing_to_publish(in_process, work):
    done = in_process("site", "public", code=2)
    assert "there are no records to publish" in done.stderr
    assert "esrbench run" in done.stderr
    assert not (work / "public").exists()


def test_records_of_another_schema_are_named_and_left_out(in_process, make_record, work):
    store = stored(work, make_record("rfdn", VALUES))
    (store.runs / "future.json").write_text('{"schema_version": 99}')
    done = in_process("site", "public", code=0)
    assert "future.json: schema version 99" in done.stderr
    assert (work / "public" / "entry_rfdn.html").is_file()


def test_a_file_in_the_way(in_process, make_record, work):
    stored(work, make_record("rfdn", VALUES))
    (work / "public").write_text("mine")
    done = in_process("site", "public", code=2)
    assert "public: cannot be written: File exists" in done.stderr
    assert (work / "public").read_text() == "mine"


def test_unknown_editions(in_process, make_record, work):
    stored(work, make_record("rfdn", VALUES))
    assert "ntire1999" in in_process("site", "public", "--rule", "ntire1999", code=2).stderr


def test_hidden_images_are_not_published(in_process, make_record, work):
    from esrbench.records import ImageScore, Quality

    score = ImageScore(image="secret", psnr_rgb=29.0, psnr_y=30.0, ssim_y=0.9)
    record = make_record("rfdn", VALUES)
    stored(
        work,
        record.model_copy(
            update={
                "data": record.data.model_copy(update={"hidden": True}),
                "quality": Quality(definition="d", images=(score,)),
            }
        ),
    )
    in_process("site", "public", code=0)
    pages = [path.read_text() for path in (work / "public").glob("*.html")]
    assert any("29.00" in page for page in pages)
    assert not any("secret" in page for page in pages)
