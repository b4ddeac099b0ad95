"""The dataset's PNGs: exact, deterministic, bounded."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from cytoimagenet.builder.errors import TooLargeError, UnreadableImageError
from cytoimagenet.builder.formats import grey_png as png
from cytoimagenet.builder.formats.grey_png import decode_png, encode_png
from hypothesis import given
from hypothesis.extra import numpy as hnp
from PIL import Image


@given(hnp.arrays("u1", hnp.array_shapes(min_dims=2, max_dims=2, max_side=50)))
def test_there_and_back(image):
    data = encode_png(image)
    assert np.array_equal(decode_png(data), image)
    assert data == encode_png(np.asfortranarray(image))
    seen = Image.open(io.BytesIO(data))
    assert seen.mode == "L" and np.array_equal(np.asarray(seen), image)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.zeros((3, 3, 3), np.uint8), np.zeros((0, 3), np.uint8)])
def test_only_grey_of_8_bits(wrong):
    with pytest.raises(ValueError, match="8-bit grey"):
        encode_png(wrong)


def test_a_colour_png_becomes_grey():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    held = io.BytesIO()
    Image.fromarray(np.stack([grey] * 3, -1)).save(held, "PNG")
    assert np.array_equal(decode_png(held.getvalue()), grey)


def test_size_is_read_before_anything_is_decompressed():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    with pytest.raises(TooLargeError, match="60000 x 60000"):
        decode_png(b"\x89PNG\r\n\x1a\n" + chunk)


def test_corrupt_bytes_are_never_pixels(rng):
    image = rng.integers(0, 255, (40, 40)).astype(np.uint8)
    whole = encode_png(image)
    for data in (b"", b"GIF89a", whole[:20], whole[:33], whole[: len(whole) // 2], whole[:-14]):
        with pytest.raises(UnreadableImageError):
            decode_png(data)
    for position in rng.integers(0, len(whole), 60):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << int(rng.integers(8))
        try:
            got = decode_png(bytes(flipped))
        except UnreadableImageError:
            continue
        assert np.array_equal(got, image)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def by_hand(image, *, bits=8, interlaced=False, filters=(0,), extra=b"", parts=1, tail=b"", level=6, cut=None):
    """Write a grey PNG of any kind: rows filtered in turn by `filters`, spread over `parts` chunks."""
    height, width = image.shape
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for row, column, down, right in passes:
        above = None
        for number, pixels in enumerate(image[row::down, column::right]):
            if bits < 8:
                spread = (pixels[:, None] >> np.arange(bits)[::-1]) & 1
                line = np.packbits(spread.astype(np.uint8))
            else:
                line = np.frombuffer(pixels.astype(">u2" if bits == 16 else "u1").tobytes(), np.uint8)
            if not len(line):
                continue
            raw += filtered(line, np.zeros_like(line) if above is None else above, filters[number % len(filters)], bits)
            above = line
    data = zlib.compress(raw[:cut], level) + tail
    step = -(-len(data) // parts)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, interlaced)
    idat = b"".join(chunk(b"IDAT", data[at : at + step]) for at in range(0, len(data), step))
    return png.SIGNATURE + chunk(b"IHDR", header) + extra + idat + chunk(b"IEND", b"")


def filtered(line, above, kind, bits):
    step = 2 if bits == 16 else 1
    left, corner = (np.concatenate([np.zeros(step, np.uint8), row])[: len(line)].astype(int) for row in (line, above))
    now, up = line.astype(int), above.astype(int)
    guess = left + up - corner
    distances = np.abs(np.stack([guess - left, guess - up, guess - corner]))
    paeth = np.choose(distances.argmin(0), [left, up, corner])
    filtered = {0: now, 1: now - left, 2: now - up, 3: now - (left + up) // 2, 4: now - paeth}.get(kind, now)
    return bytes([kind]) + (filtered % 256).astype(np.uint8).tobytes()


def by_opencv(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)


def seen_by_opencv(monkeypatch, worth=0):
    """Return what OpenCV is given to decode, call by call; by default small files are treated like large ones."""
    monkeypatch.setattr(png, "MIN_BYTES_TO_INFLATE", worth)
    given, imdecode = [], cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda data, flag: (given.append(data.tobytes()), imdecode(data, flag))[1])
    return given


@pytest.mark.parametrize("shape", [(1, 1), (1, 70000), (40, 33), (300, 300)])
@pytest.mark.parametrize("filters", [(0,), (1,), (2,), (3,), (4,), (3, 1, 4, 0, 2)])
def test_decompressed_by_libdeflate_every_filter_gives_the_same_pixels(rng, monkeypatch, shape, filters):
    image = rng.integers(0, 256, shape).astype(np.uint8)
    given = seen_by_opencv(monkeypatch)
    for parts in (1, 3):
        data = by_hand(image, filters=filters, parts=parts)
        for held in (data, memoryview(data)):
            assert np.array_equal(decode_png(held), image)
    assert all(len(seen) > image.size and seen != data for seen in given), "it came to OpenCV inflated"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_other_greys_are_left_to_libpng(rng, monkeypatch, bits, interlaced):
    given = seen_by_opencv(monkeypatch)
    image = rng.integers(0, 2**bits, (19, 21))
    data = by_hand(image, bits=bits, interlaced=interlaced, filters=(0, 1, 2, 3, 4))
    full = image >> 8 if bits == 16 else image * (255 // (2**bits - 1))
    assert np.array_equal(decode_png(data), full)
    assert (given[0] == data) == (bits != 8 or interlaced)


def test_small_and_flat_files_go_to_libpng_as_they_are(rng, monkeypatch):
    given = seen_by_opencv(monkeypatch, png.MIN_BYTES_TO_INFLATE)
    noise = rng.integers(0, 256, (300, 300)).astype(np.uint8)
    flat = np.zeros((1000, 1000), np.uint8)
    flat[:100, :100] = noise[:100, :100]
    files = [encode_png(image) for image in (noise[:60, :60], flat, noise)]
    for data in files:
        decode_png(data)
    assert [seen == data for seen, data in zip(given, files, strict=True)] == [True, True, False]


def test_what_libpng_refuses_stays_refused(rng, monkeypatch):
    monkeypatch.setattr(png, "MIN_BYTES_TO_INFLATE", 0)
    image = rng.integers(0, 40, (24, 31)).astype(np.uint8)
    whole = by_hand(image, filters=(0, 1, 2, 3, 4), parts=3)
    files = [whole[:stop] for stop in range(0, len(whole), 7)]
    files += [by_hand(image, cut=400), by_hand(image, cut=-1), by_hand(image, filters=(7,)), by_hand(image, tail=b"x")]
    files += [by_hand(image, extra=chunk(*more)) for more in ((b"tRNS", b"\0\7"), (b"gAMA", b"\0\0\xb1\x8f"))]
    files += [whole + b"more", whole.replace(b"IDAT", b"IDOT"), whole.replace(b"IEND", b"IENE")]
    for position in rng.integers(0, len(whole), 400):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(8))
        files.append(bytes(changed))
    refused = 0
    for data in files:
        expected = by_opencv(data) if data[:8] == png.SIGNATURE and len(data) > 32 and data[12:16] == b"IHDR" else None
        if expected is None:
            refused += 1
            with pytest.raises((UnreadableImageError, TooLargeError)):
                decode_png(data)
        else:
            try:
                assert np.array_equal(decode_png(data), expected)
            except TooLargeError:
                refused += 1
    assert refused > 300, refused
    assert refused < len(files) - 4


def test_nothing_is_printed_about_odd_and_damaged_files(rng, capfd):
    """Neither OpenCV nor libpng, which write to the screen from C; the pixels of an odd file are unchanged."""
    image = rng.integers(0, 255, (40, 40)).astype(np.uint8)
    whole = encode_png(image)
    damaged = whole[:200] + bytes(20) + whole[220:]
    profile = struct.pack(">I", 5) + b"iCCPabcde" + bytes(4)
    wrong_checksum = whole[:33] + profile + whole[33:]
    right_checksum = whole[:33] + profile[:13] + zlib.crc32(profile[4:13]).to_bytes(4, "big") + whole[33:]
    for data in (whole[:200], whole[:-12], damaged):
        with pytest.raises(UnreadableImageError, match="corrupt PNG data"):
            decode_png(data)
    for data in (wrong_checksum, right_checksum, whole[:-1] + b"x"):
        assert np.array_equal(decode_png(data), image)
    assert capfd.readouterr() == ("", "")
