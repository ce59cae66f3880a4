"""SR images of strangers: what is found, what it is called, and what is refused unread."""

from __future__ import annotations

import stat
import zipfile

import pytest

from esrbench.data import sr_images
from esrbench.data.sr_images import SrFile, match_images, open_sr_images
from esrbench.errors import DataError, UsageError

NAMES = ("0801", "0802")


def write(root, *names, content=b"pixels"):
    """Files of these names in a folder."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def pack(path, *names, content=b"pixels", kind=zipfile.ZIP_DEFLATED):
    """A zip file of files of these names."""
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name in names:
            archive.writestr(name, content)
    return path


@pytest.fixture(params=["folder", "zip"])
def made(request, tmp_path):
    """Makes a folder or a zip file of files of some names."""

    def make(*names):
        if request.param == "folder":
            return write(tmp_path / "sr", *names)
        return pack(tmp_path / "sr.zip", *names)

    return make


def found(path):
    """Names of the image files, what one of them holds, and the problems."""
    problems: list[str] = []
    with open_sr_images(path, problems) as files:
        return [file.label.rpartition("/")[2] for file in files], files[0].read(), problems


def meant(*stems, names=NAMES, scale=4):
    """By image, the stem of its SR file; and the problems."""
    problems: list[str] = []
    files = [SrFile(f"sr/{stem}.png", bytes) for stem in stems]
    matched = match_images(files, names, scale, problems)
    return {name: file.label[3:-4] for name, file in matched.items()}, problems


@pytest.mark.parametrize(
    "names",
    [
        ("0801.png", "0802.BMP"),
        ("team/deep/0801.png", "team/deep/0802.BMP"),
        ("0801.png", "0802.BMP", "readme.txt", ".hidden", "__MACOSX/0801.png", "lr/0801x2.png"),
    ],
    ids=["flat", "one folder below", "with more beside"],
)
def test_the_images_of_one_folder_are_found(made, names):
    assert found(made(*names)) == (["0801.png", "0802.BMP"], b"pixels", [])


def test_other_files_are_problems(made):
    names, _, problems = found(made("0801.png", "0802.jpg", "run.py", "a\u202eb.png"))
    assert names == ["0801.png"]
    assert len(problems) == 3
    assert any("0802.jpg: found a file that is no image" in each for each in problems)
    assert any("'a\\u202eb.png' cannot be shown as text" in each for each in problems)


def test_images_in_several_folders_are_refused(made):
    with pytest.raises(DataError, match=r"images in 2 folders, expected one: x2/, x4/") as caught:
        found(made("x2/0801.png", "x4/0801.png"))
    assert "one data set at one scale" in caught.value.advice


def test_nothing_to_score_is_refused(made, tmp_path):
    with pytest.raises(DataError, match="found no images"):
        found(made("readme.txt"))
    with pytest.raises(UsageError, match="no such folder or zip file"):
        found(tmp_path / "nowhere")
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.zip: found no readable zip file"):
        found(tmp_path / "text.zip")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    root = write(tmp_path / "sr", "0801.png")
    write(tmp_path, "hr/0802.png", content=b"ground truth")
    (root / "0802.png").symlink_to(tmp_path / "hr" / "0802.png")
    (root / "0803.png").symlink_to("0801.png")
    names, _, problems = found(root)
    assert names == ["0801.png", "0803.png"]
    assert problems == [f"{root / '0802.png'}: is a link out of the folder"]


@pytest.mark.parametrize(
    "name", ["../0801.png", "/etc/0801.png", "a/../../0801.png", "a\\0801.png"]
)
def test_an_unsafe_path_in_a_zip_file_refuses_it(tmp_path, name):
    with pytest.raises(DataError, match="unsafe path"):
        found(pack(tmp_path / "sr.zip", "0801.png", name))


def test_a_link_in_a_zip_file_is_a_problem(tmp_path):
    path = pack(tmp_path / "sr.zip", "0801.png")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("0802.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert found(path)[2] == [f"{path}/0802.png: is a link"]


def test_files_and_bytes_are_bounded(made, tmp_path, monkeypatch):
    monkeypatch.setattr(sr_images, "MAX_FILES", 2)
    with pytest.raises(DataError, match="holds more than 2 files"):
        found(made("0801.png", "0802.png", "0803.png"))
    monkeypatch.setattr(sr_images, "MAX_BYTES", 10)
    with pytest.raises(DataError, match="have 12 bytes when unpacked, expected 10 at most"):
        found(pack(tmp_path / "b.zip", "0801.png", "0802.png"))


def test_a_bomb_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(sr_images, "MAX_FILE_BYTES", 2**20)
    path = pack(tmp_path / "bomb.zip", "0801.png", content=bytes(2**20 + 1))
    problems: list[str] = []
    with open_sr_images(path, problems) as files:
        assert files == []
    assert problems == [f"{path}/0801.png: found a file of more than {2**20} bytes"]


def test_a_list_of_files_without_end_is_not_read(tmp_path, monkeypatch):
    path = pack(tmp_path / "sr.zip", *(f"{number}.png" for number in range(100)))
    monkeypatch.setattr(sr_images, "MAX_READ_BYTES", 1000)
    with pytest.raises(DataError, match="its list of files has"):
        found(path)


def test_an_archive_that_lies_of_its_sizes_gives_no_more_than_it_says(tmp_path):
    path = pack(tmp_path / "sr.zip", "0801.png", content=b"x" * 1000)
    content = bytearray(path.read_bytes())
    # The size in the list of files, which is what the bounds were held against.
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    with (
        open_sr_images(path, []) as (file,),
        pytest.raises(DataError, match="cannot be unpacked: Bad CRC-32"),
    ):
        file.read()


def test_other_kinds_of_compression_are_problems(tmp_path):
    path = pack(tmp_path / "sr.zip", "0801.png", kind=zipfile.ZIP_LZMA)
    problems: list[str] = []
    with open_sr_images(path, problems) as files:
        assert files == []
    assert "not compressed by deflate" in problems[0]


def test_a_damaged_member_is_named(tmp_path):
    path = pack(tmp_path / "sr.zip", "0801.png", content=b"x" * 1000, kind=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[content.index(b"xxxx") + 500] ^= 1
    path.write_bytes(content)
    with (
        open_sr_images(path, []) as (file,),
        pytest.raises(DataError, match=r"0801\.png: cannot be unpacked: Bad CRC-32"),
    ):
        file.read()


@pytest.mark.parametrize(
    "stems",
    [
        ("0801", "0802"),
        ("0801x4", "0802X4"),
        ("0801x4_SR", "0802x4_SR"),
        ("team07_0801", "team07_0802"),
        ("07-0801x4-final", "07-0802x4-final"),
        ("0801_x4_rfdn", "RFDN.0802.sr"),
    ],
)
def test_a_name_may_stand_among_others(stems):
    assert meant(*stems) == (dict(zip(NAMES, stems, strict=True)), [])


def test_a_name_is_a_whole_word_and_the_longest_counts():
    names = ("man", "foreman", "img_1", "img_1_b", "img_10")
    stems = ("x_man_SR", "foreman", "t-img_1", "t-img_1_b", "t-img_10x4")
    assert meant(*stems, names=names) == (dict(zip(names, stems, strict=True)), [])
    assert meant("Baby_x4", names=("baby",))[0] == {"baby": "Baby_x4"}


def test_every_problem_of_names_is_told():
    matched, problems = meant("0801", "t_0801", "0801_0802", "0803", "08011", "0802x2")
    assert matched == {}
    assert problems == [
        "sr/0801_0802.png: may be an SR image of 0801 or of 0802",
        "sr/0803.png: is called like no image of the data set",
        "sr/08011.png: is called like no image of the data set",
        "sr/0802x2.png: is called like no image of the data set",
        "0801: has 2 SR images, sr/0801.png and sr/t_0801.png",
        "0802: has no SR image, expected 0802.png or 0802x4.png",
    ]
