"""Strict reading of images: what is accepted, and every way of not being an 8-bit RGB image."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from esrbench.data import codecs
from esrbench.errors import DataError

RNG = np.random.default_rng(20)
RGB = RNG.integers(0, 256, (7, 5, 3), dtype=np.uint8)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind, data):
    """A PNG chunk, written from the specification."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width, height, depth=8, kind=2, interlace=0):
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace))


def rows(pixels):
    """Pixels as they are compressed: rows of filter type 0."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def png(stream=None, *, head=None, extra=b""):
    """A PNG of compressed rows; by default the 5x7 image ``RGB``."""
    stream = zlib.compress(rows(RGB)) if stream is None else stream
    body = extra + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    return SIGNATURE + (head or header(5, 7)) + body


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(mode="RGB"):
    return Image.fromarray(RGB).convert(mode)


def test_a_png_built_by_hand_is_read_as_its_pixels(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    pixels = codecs.read_rgb(path)
    assert np.array_equal(pixels, RGB)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert codecs.read_size(path) == (7, 5)


def test_written_files_are_read_alike_by_pillow(tmp_path):
    path = tmp_path / "a.png"
    codecs.write_png(path, RGB)
    with Image.open(path) as image:
        assert image.mode == "RGB"
        assert np.array_equal(np.asarray(image), RGB)
    assert np.array_equal(codecs.read_rgb(path), RGB)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("bad", [RGB.astype(np.float32), RGB[:, :, 0], RGB[:, :, :2]])
def test_only_rgb_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W, 3\)"):
        codecs.write_png(tmp_path / "a.png", bad)


def test_bmp_is_read_whether_stored_from_below_or_above(tmp_path):
    data = saved(photo(), "BMP")
    assert np.array_equal(codecs.decode_rgb(data, "below.bmp"), RGB)
    path = tmp_path / "above.bmp"
    path.write_bytes(data[:22] + struct.pack("<i", -7) + data[26:])
    assert np.array_equal(codecs.read_rgb(path), RGB[::-1])
    assert codecs.read_size(path) == (7, 5)


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    data = saved(photo(), exif=exif)
    assert b"eXIf" in data
    assert np.array_equal(codecs.decode_rgb(data, "rotated.png"), RGB)


def test_gamma_and_profiles_do_not_change_pixels():
    data = png(extra=chunk(b"gAMA", struct.pack(">I", 220_000)) + chunk(b"sRGB", b"\0"))
    assert np.array_equal(codecs.decode_rgb(data, "gamma.png"), RGB)


def test_a_grey_png_needs_an_exception_and_is_repeated_in_three_channels():
    grey = photo("L")
    with pytest.raises(DataError, match="8-bit grey"):
        codecs.decode_rgb(saved(grey), "bridge.png")
    pixels = codecs.decode_rgb(saved(grey), "bridge.png", allow_grey=True)
    assert np.array_equal(pixels, np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))


FOREIGN = {
    "empty": (lambda: b"", "an empty file"),
    "text": (lambda: b"<html>Not found</html>", "unknown content"),
    "jpeg": (lambda: saved(photo(), "JPEG"), "a JPEG file"),
    "gif": (lambda: saved(photo("P"), "GIF"), "a GIF file"),
    "tiff": (lambda: saved(photo(), "TIFF"), "a TIFF file"),
    "webp": (lambda: b"RIFF\0\0\0\0WEBPVP8 ", "a WebP"),
    "palette": (lambda: saved(photo("P")), "palette"),
    "alpha": (lambda: saved(photo("RGBA")), "RGB with alpha"),
    "grey-alpha": (lambda: saved(photo("LA")), "grey with alpha"),
    "one-bit": (lambda: saved(photo("1")), "1-bit grey"),
    "16-bit-grey": (lambda: saved(Image.fromarray(RGB[:, :, 0].astype(np.uint16))), "16-bit grey"),
    "16-bit-rgb": (lambda: SIGNATURE + header(5, 7, depth=16), "16-bit RGB"),
    "transparent-colour": (lambda: png(extra=chunk(b"tRNS", b"\0\1\0\1\0\1")), "tRNS"),
    "animated": (lambda: png(extra=chunk(b"acTL", struct.pack(">II", 1, 0))), "acTL"),
    "bmp-32": (lambda: saved(photo("RGBA"), "BMP"), "32-bit"),
    "bmp-palette": (lambda: saved(photo("P"), "BMP"), "8-bit"),
    "bmp-truncated": (lambda: saved(photo(), "BMP")[:-1], "a truncated BMP"),
    "no-pixels": (lambda: SIGNATURE + header(0, 7) + chunk(b"IEND", b""), "0x7 pixels"),
    "no-data": (lambda: SIGNATURE + header(5, 7) + chunk(b"IEND", b""), "do not decode"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_8_bit_rgb_is_refused_by_name(tmp_path, kind):
    make, found = FOREIGN[kind]
    path = tmp_path / "photo.png"
    path.write_bytes(make())
    with pytest.raises(DataError) as caught:
        codecs.read_rgb(path)
    assert str(path) in caught.value.message
    assert found in caught.value.message
    assert "expected an 8-bit RGB PNG" in caught.value.message


def test_16_bit_grey_is_refused_even_where_grey_is_allowed():
    with pytest.raises(DataError, match="16-bit grey"):
        codecs.decode_rgb(FOREIGN["16-bit-grey"][0](), "a.png", allow_grey=True)


def test_an_absent_file_and_a_folder_are_data_errors(tmp_path):
    for path in (tmp_path / "absent.png", tmp_path):
        for read in (codecs.read_rgb, codecs.read_size):
            with pytest.raises(DataError, match="no readable file"):
                read(path)


def damaged(damage, *, grey=False):
    """A PNG whose compressed pixels were damaged before its chunks got their CRCs."""
    stream = bytearray(zlib.compress(rows(RGB[:, :, 0] if grey else RGB)))
    damage(stream)
    return png(bytes(stream), head=header(5, 7, kind=0 if grey else 2))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("place", [-1, -4, 20])
def test_compressed_pixels_that_fail_their_checksum_are_found(place, *, grey):
    """Last and first byte of the Adler-32, and a byte of the pixels themselves."""

    def flip(stream):
        stream[place] ^= 8

    whole = damaged(len, grey=grey)
    assert codecs.decode_rgb(whole, "whole.png", allow_grey=grey).shape == (7, 5, 3)
    with pytest.raises(DataError, match="pixels that do not decode"):
        codecs.decode_rgb(damaged(flip, grey=grey), "a.png", allow_grey=grey)


def test_damaged_streams_never_decode_to_other_pixels(image_bytes):
    """Whatever byte of the compressed pixels changes, with all CRCs right."""
    rng = np.random.default_rng(12)
    expected = codecs.decode_rgb(image_bytes, "whole.png")
    stream = bytearray(image_bytes[41:-16])
    for _ in range(600):
        found = bytearray(stream)
        found[rng.integers(2, len(found))] ^= 1 << int(rng.integers(8))
        data = png(bytes(found), head=header(64, 48))
        try:
            pixels = codecs.decode_rgb(data, "damaged.png")
        except DataError:
            continue
        assert np.array_equal(pixels, expected)


@pytest.fixture
def image_bytes():
    """A smooth 64x48 image as PNG of one IDAT chunk, whose Huffman codes tell little of damage."""
    down, right = np.mgrid[:48, :64]
    rgb = np.stack([down, right, down + right], axis=2).astype(np.uint8)
    noise = RNG.integers(0, 8, rgb.shape, dtype=np.uint8)
    return png(zlib.compress(rows(rgb + noise)), head=header(64, 48))


def test_proven_bytes_are_not_verified_again(monkeypatch):
    monkeypatch.setattr(codecs, "_check_stream", lambda *_: pytest.fail("verified again"))
    assert np.array_equal(codecs.decode_rgb(png(), "a.png", proven=True), RGB)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (png(zlib.compress(b"\0" * 113)), "more pixels, its header states 112 bytes"),
        (png(zlib.compress(b"\0" * 105)), "105 bytes of pixels, its header states 112 bytes"),
        # One row is short.
        (png(zlib.compress(rows(RGB[:-1]))), "do not decode"),
        (png(zlib.compress(rows(RGB))[:-4]), "112 bytes of pixels without an end"),
    ],
)
def test_a_stream_that_contradicts_the_header_or_has_no_end_is_found(data, found):
    with pytest.raises(DataError, match=found):
        codecs.decode_rgb(data, "other.png")


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (9, 3), (16, 16)])
def test_an_interlaced_png_is_read_as_its_pixels(shape):
    # The seven passes as the specification draws them, over and over in 8x8 pixels.
    drawn = ["16462646", "77777777", "56565656", "77777777"]
    drawn += ["36463646", "77777777", "56565656", "77777777"]
    pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    stream = b""
    for number in "1234567":
        for row in range(shape[0]):
            line = [x for x in range(shape[1]) if drawn[row % 8][x % 8] == number]
            stream += b"\0" + pixels[row, line].tobytes() if line else b""
    data = png(zlib.compress(stream), head=header(shape[1], shape[0], interlace=1))
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(codecs.decode_rgb(data, "passes.png"), pixels)


def test_every_truncation_is_found():
    data = png()
    for length in range(len(data)):
        with pytest.raises(DataError):
            codecs.decode_rgb(data[:length], "cut.png")


def test_every_flipped_bit_is_found():
    data = png(extra=chunk(b"tEXt", b"Title\0photo"))
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError):
            codecs.decode_rgb(bytes(flipped), "flipped.png")


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch):
    import cv2

    def refuse(*_):
        pytest.fail("the bomb reached the decoder")

    monkeypatch.setattr(cv2, "imdecode", refuse)
    data = SIGNATURE + header(50_000, 50_000) + chunk(b"IDAT", b"x" * 9) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="50000x50000 pixels in the header, over the limit"):
        codecs.decode_rgb(data, "bomb.png")


def test_a_file_too_large_for_any_image_is_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(codecs, "MAX_FILE_BYTES", 100)
    path = tmp_path / "large.png"
    path.write_bytes(png())
    with pytest.raises(DataError, match="more than 100 bytes"):
        codecs.read_rgb(path)


def test_the_pixel_digest_covers_shape_and_bytes_whatever_the_memory_layout():
    expected = hashlib.sha256(b"7x5x3" + RGB.tobytes()).hexdigest()
    assert codecs.pixel_digest(RGB) == expected
    assert codecs.pixel_digest(np.asfortranarray(RGB)) == expected
    assert codecs.pixel_digest(RGB.reshape(5, 7, 3)) != expected
