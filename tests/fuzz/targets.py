"""Our parsers as functions of bytes: what they may raise, what must hold for what they accept, and where to start.

Whatever else a parser raises, and any input for which it takes too much time or memory, is a finding.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from cytoimagenet.builder import schema
from cytoimagenet.builder.archive.files import Archive, list_archive
from cytoimagenet.builder.archive.metadata import categories_of, find_metadata, match, read_metadata
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset import manifest_form
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.names import FORMATS
from cytoimagenet.builder.dataset.ranges import reader_of
from cytoimagenet.builder.errors import (
    CheckFailedError,
    CytoImageNetError,
    MetadataError,
    SchemaError,
    UnreadableImageError,
    UsageError,
)
from cytoimagenet.builder.formats import tiff_plain
from cytoimagenet.builder.formats.grey_png import decode_png, encode_png
from cytoimagenet.builder.formats.hdf5 import own_dataset
from cytoimagenet.builder.formats.limits import Limits, png_chunks
from cytoimagenet.builder.formats.read import read_file
from cytoimagenet.builder.hf.examples import read_shard
from cytoimagenet.builder.image_table import table_file
from cytoimagenet.builder.image_table.root import Root
from cytoimagenet.builder.shards.check import check_shard
from cytoimagenet.builder.shards.format import WRITERS, Tally, header
from cytoimagenet.eval.tables.feature_table import read_table
from cytoimagenet.training.recipes import read_yaml, settings
from PIL import Image

from tests.builder.formats import hostile

MAX_SEED_BYTES = 2**16  # larger hostile files have tests of their own
MAX_PIXELS = 2**20
FOLDER = Path(tempfile.gettempdir())
"""Where inputs are written that a parser reads from a file; `run` replaces it."""

GREY = hostile.GREY
PNG = encode_png(GREY)


class Target(NamedTuple):
    """A parser.

    Parameters
    ----------
    seeds : callable
        Returns inputs to start from; most are valid.
    parse : callable
        Parses an input; returns for those it accepts and for those it refuses as it should.
    """

    seeds: Callable[[], list[bytes]]
    parse: Callable[[bytes], None]


def written(name: str, data: bytes) -> Path:
    """Write an input to a file, and return the file."""
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def images() -> list[bytes]:
    """Return image files of all formats, and those of `hostile`."""
    files = [data for _, data, _ in hostile.images()]
    stack = np.stack([GREY.astype(np.uint16)] * 3)
    for options in ({}, {"ome": True}, {"imagej": True}, {"bigtiff": True}, {"byteorder": ">"}):
        file = io.BytesIO()
        tifffile.imwrite(file, stack, photometric="minisblack", **options)
        files.append(file.getvalue())
    for compression in ("zlib", "lzw", "packbits", "zstd", "lzma", "jpeg"):
        file = io.BytesIO()
        tifffile.imwrite(file, GREY, compression=compression, tile=(16, 16))
        files.append(file.getvalue())
    for kind in ("PNG", "JPEG", "BMP"):
        for mode in ("L", "RGB", "P"):
            if (kind, mode) != ("JPEG", "P"):
                file = io.BytesIO()
                Image.fromarray(GREY).convert(mode).save(file, kind)
                files.append(file.getvalue())
    files.append(struct.pack("<IIIHHI", 40, 50, 40, 1, 16, 0).ljust(52, b"\0") + bytes(2 * 50 * 40))
    deltavision = bytearray(1024 + 2 * 2 * 50 * 40)
    struct.pack_into("<4i", deltavision, 0, 50, 40, 2, 6)
    struct.pack_into("<h", deltavision, 96, -16224)
    struct.pack_into("<2h", deltavision, 180, 1, 0)
    struct.pack_into("<h", deltavision, 196, 2)
    return [*files, bytes(deltavision)]


def parse_image(data: bytes) -> None:
    """Read an image file as the curation does."""
    try:
        plane = read_file(io.BytesIO(data), "x", page=0, max_pixels=MAX_PIXELS)
    except UnreadableImageError:
        return
    assert plane.ndim == 2
    assert 0 < plane.size <= MAX_PIXELS


def plain_tiffs() -> list[bytes]:
    """Return TIFFs that the reader of plain files reads."""
    files = []
    for dtype in (np.uint8, np.uint16):
        for options in (
            {},
            {"rowsperstrip": 7},
            {"byteorder": ">"},
            {"description": "a"},
            {"photometric": "miniswhite"},
        ):
            file = io.BytesIO()
            tifffile.imwrite(file, GREY.astype(dtype), **options)
            files.append(file.getvalue())
    return [*files, hostile.tiff((hostile.tags_of(50, 40), GREY.tobytes()))]


def parse_plain_tiff(data: bytes) -> None:
    """Compare the reader of plain TIFFs with tifffile, where both accept a file."""
    try:
        plane = tiff_plain.read(io.BytesIO(data), None, Limits("x", MAX_PIXELS))
    except UnreadableImageError:
        return
    if plane is None:
        return
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as tif:
            page = tif.pages.first
            if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or page.samplesperpixel != 1:
                return
            expected = page.asarray()
    except Exception:
        return
    assert np.array_equal(plane, expected), "tifffile reads other pixels"


def dataset_pngs() -> list[bytes]:
    """Return PNGs as they are in the dataset, and others."""
    files = [data for _, data, _ in hostile.dataset_pngs()]
    noise = np.random.default_rng(0).integers(0, 256, (100, 100), np.uint8)
    files += [PNG, encode_png(noise), encode_png(np.zeros((1, 1), np.uint8))]
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        file = io.BytesIO()
        Image.fromarray(GREY).convert(mode).save(file, "PNG")
        files.append(file.getvalue())
    return files


def parse_dataset_png(data: bytes) -> None:
    """Compare the decoder of the dataset's PNGs with Pillow, where both accept a grey one."""
    data = with_checksums(data)
    try:
        image = decode_png(data)
    except UnreadableImageError:
        return
    if data[24:29] not in (bytes((8, 0, 0, 0, 0)), bytes((8, 0, 0, 0, 1))):
        return
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            expected = np.asarray(opened) if opened.mode == "L" and not opened.info.get("transparency") else None
    except Exception:
        return
    assert expected is None or np.array_equal(image, expected), "Pillow reads other pixels"


def with_checksums(data: bytes) -> bytes:
    """Return a PNG with right checksums: otherwise hardly any change would get behind them."""
    if len(data) < 33 or len(data) > MAX_SEED_BYTES:
        return data
    repaired = bytearray(data)
    try:
        for _, start, stop in png_chunks(data, Limits("x")):
            repaired[stop : stop + 4] = zlib.crc32(repaired[start - 4 : stop]).to_bytes(4, "big")
    except UnreadableImageError:
        return data
    return bytes(repaired)


METADATA_CSV = (
    b"label,category,filename,path,idx,crop,scaling,x_min,x_max,y_min,y_max,cell_component\n"
    b'actin,cell_visible,a.png,/home/x/actin,s-0,True,0.5,0,10,0,10,"actin|dna"\n'
    b"actin,cell_visible,b.png,cytoimagenet/actin,s-1,False,,,,,,actin\n"
)


def zipped(metadata: bytes, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    """Return a zip as the published archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr("cytoimagenet/metadata.csv", metadata)
        archive.writestr("cytoimagenet/actin/a.png", PNG)
        archive.writestr("cytoimagenet/actin/\u00b5.png", PNG[:100])
        archive.comment = comment
    return file.getvalue()


def zips() -> list[bytes]:
    """Return zips, one with zip64 fields."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("a/metadata.csv", "w", force_zip64=True) as member:
            member.write(METADATA_CSV)
    plain = zipped(METADATA_CSV, zipfile.ZIP_STORED)
    return [zipped(METADATA_CSV), plain, b"before" + plain, zipped(METADATA_CSV, comment=b"c" * 99), file.getvalue()]


def parse_zip(data: bytes) -> None:
    """List an archive, read its table and its files."""
    try:
        listing = list_archive(written("archive.zip", data))
        with Archive(listing) as archive:
            for number in range(min(len(listing.names), 8)):
                try:
                    content = archive.read(number)
                except UnreadableImageError:
                    continue
                assert len(content) == listing.sizes[number]
        metadata = find_metadata(listing)
        table = read_metadata(listing, metadata)
    except (UsageError, MetadataError):
        return
    matched = match(listing, table, metadata)
    assert len(matched.entry) == len(table)
    categories_of(table)


def parse_metadata_csv(data: bytes) -> None:
    """Read the archive's table from a folder."""
    written("folder/actin/a.png", PNG)
    listing = list_archive(written("folder/metadata.csv", data).parent)
    metadata = find_metadata(listing)
    try:
        table = read_metadata(listing, metadata)
    except MetadataError:
        return
    assert set(categories_of(table).values()) <= set(schema.CATEGORIES)
    assert len(match(listing, table, metadata).entry) == len(table)


INDEX = {"actin": 0, "human": 1}


def row(number: int) -> dict[str, Any]:
    """Return a row of a shard."""
    text = {name: schema.empty(name) for name in schema.ROW.names} | {
        "label": "human" if number else "actin",
        "split": "train",
    }
    numbers = {
        "crop": False,
        "scaling": 1.0,
        "x_min": 0,
        "x_max": 50,
        "y_min": 0,
        "y_max": 40,
        "width": 50,
        "height": 40,
    }
    return {"key": f"k{number}", **text, **numbers, "idx": f"s-{number}", "channels": f"s/{number}.tif"}


def shard_of(form: str) -> tuple[bytes, list[int]]:
    """Return a shard of two images, and the offsets of their PNGs."""
    file = io.BytesIO()
    offsets = WRITERS[form](Tally(file), [(row(number), PNG) for number in range(2)], INDEX)
    return file.getvalue(), list(offsets)


def manifest_of(data: bytes = b"", form: str = "webdataset") -> dict[str, Any]:
    """Return the manifest of a dataset of one shard."""
    entry = {"rows": 2, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return {
        "format": manifest_form.FORMAT, "schema_version": schema.VERSION, "shard_format": form, "settings": {"size": 1},
        "seed": 0, "versions": {"numpy": "2"}, "classes": [
            {"label": label, "category": "gene", "train": 1, "validation": 0} for label in INDEX],
        "splits": {"train": {"rows": 2, "bytes": len(data), "shards": 1}},
        "files": {f"data/train-00000-of-00001.{FORMATS[form]}": entry}, "counts": {"images": 2, "by": {"a": 1}},
        "pages": {}, "own_sources": {"mine": {"link": "https://example.org"}},
    }  # fmt: skip


def parse_manifest(data: bytes) -> None:
    """Read and describe a manifest whose digest and seal are right, whatever it contains."""
    try:
        value = json.loads(data)
        sealed = {**value, "digest": manifests.digest(value)}
        data = manifests.rendered({**sealed, "seal": manifests.seal(sealed)})
    except Exception:
        pass  # not JSON, or nothing that can be sealed: it is read as it is
    try:
        manifest = Manifest.load(written("dataset/manifest.json", data).parent)
    except CytoImageNetError:
        return
    manifest.describe(all_classes=True)
    hash(manifest)
    for split in manifest.splits:
        manifest.shards(split)


def check(form: str, data: bytes) -> None:
    """Check a shard whose hash is right against its rows, and read it as a stream."""
    manifest = Manifest(str(FOLDER), manifest_of(data, form))
    (name,) = manifest.files
    path = written(name, data)
    rows = [
        row(number) | {"shard": name, "offset": offset, "size": len(PNG)}
        for number, offset in enumerate(shard_of(form)[1])
    ]
    checked = check_shard(manifest, name, pa.Table.from_pylist(rows, schema=schema.METADATA))
    assert not any(problem.startswith("sha256 differs") for problem in checked.problems), checked.problems
    try:
        count = sum(1 for _ in read_shard(str(path), form, rows=2))
    except CheckFailedError:
        return
    assert checked.problems or count == 2


def parse_row_of_tar(data: bytes) -> None:
    """Check a tar shard whose first row is the input."""
    whole, _ = shard_of("webdataset")
    start = 512 + len(PNG) + -len(PNG) % 512
    first = json.dumps(row(0), separators=(",", ":")).encode()
    rest = whole[start + 512 + len(first) + -len(first) % 512 :]
    check("webdataset", whole[:start] + header("k0.json", len(data)) + data + bytes(-len(data) % 512) + rest)


def metadata_parquets() -> list[bytes]:
    """Return tables of images: with dictionaries and without, compressed and not."""
    rows = [row(number) | {"shard": "data/a.tar", "offset": 512, "size": 9} for number in range(2)]
    table = pa.Table.from_pylist(rows, schema=schema.METADATA)
    files = []
    for options in ({"compression": "zstd"}, {"compression": "none"}, {"use_dictionary": False}, {"row_group_size": 1}):
        file = io.BytesIO()
        pq.write_table(table.select(["key", "label", "shard", "offset", "size"]), file, **options)
        files.append(file.getvalue())
    file = io.BytesIO()
    pq.write_table(table, file, write_page_checksum=True)
    return [*files, file.getvalue()]


def parse_metadata_parquet(data: bytes) -> None:
    """Read columns of the table of images, and the images where they point to."""
    columns = ["key", "label", "shard", "offset", "size"]
    try:
        frame = schema.read(written("metadata.parquet", data), schema.METADATA, columns)
    except SchemaError:
        return
    written("data/a.tar", bytes(1024))
    fetch(*(frame[name].tolist()[:8] for name in ("shard", "offset", "size")))


def fetch(stores: list[Any], offsets: list[Any], sizes: list[Any]) -> None:
    """Read ranges of the files of a folder; what it returns is never longer than requested."""
    try:
        found = reader_of(FOLDER)(stores, offsets, sizes)
    except (CheckFailedError, FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return
    assert all(len(one) <= size for one, size in zip(found, sizes, strict=True))


def parse_places(data: bytes) -> None:
    """Read an image at a place that the input names."""
    written("data/a.tar", bytes(1024))
    if len(data) >= 16:
        offset, size = struct.unpack_from("<qq", data)
        fetch([data[16:].decode(errors="surrogateescape" if len(data) % 2 else "replace")], [offset], [size])


def feature_tables() -> list[bytes]:
    """Return tables of features, the first byte of each gives its kind."""
    frame = pd.DataFrame(
        {"id": ["a", "b"], "moa": ["x", "y"], "Metadata_Well": ["A1", "B2"], "f": [0.5, 1], "g": [1, 2]}
    )
    parquet, arrays, packed = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    for file, save in ((arrays, np.savez), (packed, np.savez_compressed)):
        save(file, features=frame[["f", "g"]].to_numpy(), id=frame["id"].to_numpy(str))
    return [b"0" + parquet.getvalue(), b"1" + frame.to_csv(index=False).encode(), b"2" + arrays.getvalue(),
            b"2" + packed.getvalue()]  # fmt: skip


def parse_feature_table(data: bytes) -> None:
    """Read a table of features."""
    suffix = (".parquet", ".csv", ".npz")[data[0] % 3] if data else ".csv"
    try:
        table = read_table(written(f"table{suffix}", data[1:]))
    except UsageError:
        return
    assert table.values.shape == (len(table.keys), len(table.names))


def image_tables() -> list[bytes]:
    """Return tables of images, the first byte of each gives its kind."""
    frame = pd.DataFrame({"file": ["a.tif", "b.zip/c.png"], "label": ["x", "y"], "id": ["1", "01"]})
    parquet = io.BytesIO()
    frame.to_parquet(parquet)
    text = frame.to_csv(index=False)
    utf_16 = text.encode("utf-16")
    return [b"0" + text.encode(), b"0" + utf_16, b"1" + frame.to_csv(index=False, sep="\t").encode(),
            b"2" + parquet.getvalue(), b"0file_dna;file_actin\n\"a\nb.tif\";c.tif\n"]  # fmt: skip


def parse_image_table(data: bytes) -> None:
    """Read a table of the user's images."""
    suffix = (".csv", ".tsv", ".parquet")[data[0] % 3] if data else ".csv"
    path = written(f"images{suffix}", data[1:])
    try:
        table = table_file.read(Root(str(path.parent)), path.name)
    except MetadataError:
        return
    assert len(table)
    assert table_file.places(table)


SETTINGS = [b"recipe: quick\nepochs: 3\nlearning_rate: 1e-3\n", b"labels: [actin, human]\nseed: 5\nbalance: true\n",
            b"a: &a [x, x]\nlabels: [*a, *a]\n", b"epochs: 2001-12-14\n", b"epochs: !!int '3'\n"]  # fmt: skip


def parse_settings(data: bytes) -> None:
    """Read a settings file."""
    path = written("settings.yaml", data)
    for read in (read_yaml, settings):
        try:
            read(path)
        except UsageError:
            continue


def hdf5_files() -> list[bytes]:
    """Return HDF5 files."""
    import h5py

    files = []
    for options in ({}, {"chunks": (2, 5), "compression": "gzip"}):
        file = io.BytesIO()
        with h5py.File(file, "w") as opened:
            opened.create_dataset("images", data=np.arange(40.0).reshape(8, 5), **options)
            opened["link"] = h5py.SoftLink("/images")
            opened["other"] = h5py.ExternalLink("other.h5", "/images")
        files.append(file.getvalue())
    return files


def parse_hdf5(data: bytes) -> None:
    """Find a data set of an HDF5 file, and read its first row."""
    import h5py

    try:
        opened = h5py.File(written("x.h5", data), "r")
    except OSError:
        return
    try:
        for name in ("images", "link", "other"):
            try:
                found = own_dataset(opened, name, Limits("x"))
            except UnreadableImageError:
                continue
            assert found is None or name == "images"
    finally:
        opened.close()


TARGETS = {
    "image": Target(images, parse_image),
    "plain TIFF": Target(plain_tiffs, parse_plain_tiff),
    "dataset PNG": Target(dataset_pngs, parse_dataset_png),
    "archive": Target(zips, parse_zip),
    "metadata.csv": Target(lambda: [METADATA_CSV], parse_metadata_csv),
    "manifest": Target(lambda: [json.dumps(manifest_of()).encode()], parse_manifest),
    "tar shard": Target(lambda: [shard_of("webdataset")[0]], lambda data: check("webdataset", data)),
    "row of a tar shard": Target(
        lambda: [json.dumps(row(0), separators=(",", ":")).encode()], parse_row_of_tar
    ),
    "Parquet shard": Target(lambda: [shard_of("parquet")[0]], lambda data: check("parquet", data)),
    "metadata.parquet": Target(metadata_parquets, parse_metadata_parquet),
    "places of images": Target(
        lambda: [struct.pack("<qq", 512, 9) + b"data/a.tar", struct.pack("<qq", -1, 2**40) + b"../x"], parse_places
    ),
    "table of features": Target(feature_tables, parse_feature_table),
    "table of images": Target(image_tables, parse_image_table),
    "settings": Target(lambda: SETTINGS, parse_settings),
    "HDF5": Target(hdf5_files, parse_hdf5),
}  # fmt: skip
