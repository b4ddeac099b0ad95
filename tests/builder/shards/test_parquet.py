"""Parquet shards as the Hub's viewer and its chunk store need them, with the PNG bytes still at their offsets."""

import functools
import http.server
import os
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.shards import format as formats
from cytoimagenet.builder.shards.verify import VIEWER_ROW_BYTES, verify
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated

IMAGES = 250
CHUNK_BYTES = 64 << 10  # of the chunk store, in the mean


def write_noise(folder, pixels, names):
    """A curated folder of these images, all in train."""
    write_curated(folder, classes=1, images=len(pixels))
    rows = schema.read(folder / "rows.parquet", schema.CURATED)
    pngs = [encode_png(image) for image in pixels]
    (folder / "store" / "0.bin").write_bytes(b"".join(pngs))
    sizes = np.array([len(png) for png in pngs])
    rows = rows.assign(
        filename=names, idx=names, channels=names, sha256=[f"pixels of {name}" for name in names], split="train",
        store="store/0.bin", store_size=sizes, store_offset=np.cumsum(sizes) - sizes,
        height=[image.shape[0] for image in pixels], width=[image.shape[1] for image in pixels],
    )  # fmt: skip
    schema.write(rows, folder / "rows.parquet", schema.CURATED)
    return folder


@pytest.fixture(scope="module")
def images():
    """Noise whose PNGs have 4 to 40 kB, which no codec makes smaller."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, rng.integers(64, 200, 2), np.uint8) for _ in range(IMAGES)]


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    base = tmp_path_factory.mktemp("parquet")
    curated = write_noise(base / "curated", images, [f"image-{i}" for i in range(IMAGES)])
    write_dataset(curated, base / "cytoimagenet-parquet", format="parquet", shard_size=10**9)
    return base / "cytoimagenet-parquet"


def shard_of(folder):
    """The largest shard."""
    return max((folder / "data").glob("train-*"), key=lambda path: path.stat().st_size)


def test_row_groups_have_at_most_100_images_and_every_column_a_page_index(folder):
    for path in folder.glob("data/*.parquet"):
        about = pq.read_metadata(path)
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        assert all(group.num_rows <= 100 for group in groups)
        columns = [group.column(i) for group in groups for i in range(group.num_columns)]
        assert all(column.has_offset_index for column in columns)
        assert all(column.has_column_index for column in columns if not column.path_in_schema.startswith("image."))
    for name in ("metadata.parquet", "classes.parquet", "rejected.parquet"):
        about = pq.read_metadata(folder / name)
        for i in range(about.num_row_groups):
            row_group = about.row_group(i)
            assert all(row_group.column(j).has_offset_index for j in range(row_group.num_columns))
    assert pq.read_metadata(folder / "metadata.parquet").num_row_groups == len(Manifest.load(folder).shards("train"))


def test_every_row_is_smaller_than_the_viewer_shows(folder):
    verify(folder)
    for path in folder.glob("data/*.parquet"):
        for row in pq.read_table(path).to_pylist():
            size = len(row["image"]["bytes"]) + sum(len(str(value)) for name, value in row.items() if name != "image")
            assert size < VIEWER_ROW_BYTES


def test_rows_that_the_viewer_does_not_show_are_noted(tmp_path):
    large = np.random.default_rng(0).integers(0, 256, (1500, 1500), np.uint8)
    curated = write_noise(tmp_path / "curated", [large, large[:99, :99]], ["large", "small"])
    write_dataset(curated, tmp_path / "parquet", format="parquet")
    note = "1 row is larger than 2 MB: the Hub's viewer does not show such rows"
    assert verify(tmp_path / "parquet").notes == [note]
    write_dataset(curated, tmp_path / "tar")
    assert verify(tmp_path / "tar").notes == []


class CountingHandler(http.server.SimpleHTTPRequestHandler):
    """Answers range requests, which the standard library's handler does not, and counts the bytes of shards."""

    sent = 0

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            data = file.read()
        first, last = 0, len(data) - 1
        asked = self.headers.get("Range")
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = int(low), min(int(high), last) if high else last
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        self.wfile.write(data[first : last + 1])
        CountingHandler.sent += last - first + 1

    def log_message(self, *_):
        pass


def test_the_first_rows_are_read_without_the_rest(folder):
    """As the viewer does: one row group of a remote file, of three in it."""
    pytest.importorskip("aiohttp")
    import fsspec

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(CountingHandler, directory=str(folder))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shard = shard_of(folder)
    size, rows = shard.stat().st_size, pq.read_metadata(shard).num_rows
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/data/{shard.name}"
        fs, inner = fsspec.url_to_fs(url)
        CountingHandler.sent = 0
        with fs.open(inner, "rb", cache_type="none") as file:
            first = pq.ParquetFile(file).read_row_group(0).slice(0, 5)
    finally:
        server.shutdown()
        server.server_close()
    assert first.equals(pq.read_table(shard).slice(0, 5))
    share = pq.read_metadata(shard).row_group(0).num_rows / rows
    assert CountingHandler.sent < (share + 0.1) * size < size


def new_share(first, second, folder):
    """The share of the bytes of the shards of `second` that a store with `first` must take, by the Hub's client."""
    import hf_xet

    def upload(dataset):
        session = hf_xet.XetSession(hf_xet.XetConfig().with_config("telemetry.enabled", False))
        commit = session.new_upload_commit(endpoint=f"local://{folder}")  # a store for tests, in a folder
        for path in sorted(dataset.glob("data/train-*")):
            commit.start_upload_file(str(path), sha256=hf_xet.SKIP_SHA256)
        return commit.wait_to_finish().dedup_metrics

    upload(first)
    report = upload(second)
    return report.new_bytes / report.total_bytes


def test_a_new_version_uploads_little_more_than_what_changed(images, folder, tmp_path, monkeypatch):
    """Two of 250 images are gone, and all others have new names; the store has the pixels of the others."""
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "cache"))
    kept = [i for i in range(IMAGES) if i not in (77, 177)]
    curated = write_noise(tmp_path / "curated", [images[i] for i in kept], [f"image-{i}" for i in kept])
    rows = schema.read(curated / "rows.parquet", schema.CURATED)
    schema.write(rows.assign(filename="new-" + rows["filename"]), curated / "rows.parquet", schema.CURATED)
    write_dataset(curated, tmp_path / "new", format="parquet", shard_size=10**9)
    share = new_share(folder, tmp_path / "new", tmp_path / "store")
    size = sum(path.stat().st_size for path in folder.glob("data/train-*"))
    row_groups = sum(pq.read_metadata(path).num_row_groups for path in folder.glob("data/train-*"))
    # two chunks for each removed image, for the columns of each row group and for the footer
    most = 2 * CHUNK_BYTES * (2 + row_groups + 1) / size
    assert 0 < share < most

    with monkeypatch.context() as patch:
        patch.setitem(formats.PARQUET_PAGES, "use_content_defined_chunking", True)  # pyarrow's own bounds
        write_dataset(folder.parent / "curated", tmp_path / "first, other pages", format="parquet", shard_size=10**9)
        write_dataset(curated, tmp_path / "new, other pages", format="parquet", shard_size=10**9)
    assert new_share(tmp_path / "first, other pages", tmp_path / "new, other pages", tmp_path / "other store") > most
