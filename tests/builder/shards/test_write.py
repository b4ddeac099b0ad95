"""The dataset folder: no image is lost, shards are mixed, and the tables have the right offsets."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from functools import partial

import fsspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema, storage
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import (
    CheckFailedError,
    SchemaError,
    SettingsChangedError,
    UsageError,
)
from cytoimagenet.builder.formats.grey_png import is_grey_png
from cytoimagenet.builder.shards import format as shardformat
from cytoimagenet.builder.shards import sort as shardsort
from cytoimagenet.builder.shards import write as shards
from cytoimagenet.builder.shards.plan import safe_keys, shard_count
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image


def test_every_image_is_in_one_shard_with_its_bytes_row_and_class(small_curated, small_dataset):
    manifest = Manifest.load(small_dataset)
    curated = schema.read(small_curated / "rows.parquet", schema.CURATED).set_index("filename")
    curated = curated.astype(object).where(curated.notna(), None)
    metadata = manifest.metadata()
    assert sorted(metadata["filename"]) == sorted(curated.index)
    seen = {}
    for split in ("train", "validation"):
        for path, rows, size, _ in manifest.shards(split):
            assert (small_dataset / path).stat().st_size == size
            with tarfile.open(small_dataset / path) as tar:
                members = {m.name: tar.extractfile(m).read() for m in tar}
            assert len(members) == 3 * rows
            for name, content in members.items():
                if name.endswith(".json"):
                    row = json.loads(content)
                    key = name.removesuffix(".json")
                    assert row == {"key": key, **{c: row[c] for c in schema.ROW.names}}
                    assert row["split"] == split
                    seen[row["filename"]] = members[key + ".png"], int(members[key + ".cls"]), row
    for filename, (png, index, row) in seen.items():
        source = curated.loc[filename]
        with open(small_curated / source["store"], "rb") as file:
            file.seek(source["store_offset"])
            assert file.read(source["store_size"]) == png
        assert manifest.class_names[index] == source["label"]
        assert {name: row[name] for name in schema.ROW.names if name != "filename"} == {
            name: source[name] for name in schema.ROW.names if name != "filename"
        }
        assert np.asarray(Image.open(io.BytesIO(png))).shape == (row["height"], row["width"])
    assert len(seen) == len(curated) == manifest.rows("train") + manifest.rows("validation") == 300


@given(st.from_regex(r"[0-9a-z_-]{1,95}\.(png|json|cls)", fullmatch=True), st.integers(0, 8**11 - 1))
def test_a_header_is_what_tarfile_writes(name, size):
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert shardformat.header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_metadata_has_the_offset_of_every_image(small_dataset):
    for row in Manifest.load(small_dataset).metadata().itertuples():
        with open(small_dataset / row.shard, "rb") as file:
            file.seek(row.offset)
            image = Image.open(io.BytesIO(file.read(row.size)))
        assert (image.format, image.mode, image.size) == ("PNG", "L", (row.width, row.height))


def test_the_sample_has_ten_training_images_a_class(small_dataset):
    manifest = Manifest.load(small_dataset)
    with tarfile.open(small_dataset / "data/sample-00000-of-00001.tar") as tar:
        rows = pd.DataFrame([json.load(tar.extractfile(m)) for m in tar if m.name.endswith(".json")])
    assert rows["label"].value_counts().to_dict() == dict.fromkeys(manifest.class_names, 10)
    assert set(rows["split"]) == {"train"}


def content(folder):
    """Relative path -> bytes of every file."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_equal_input_gives_equal_bytes_whatever_the_workers_and_the_order_of_rows(
    small_curated, small_dataset, tmp_path
):
    write_dataset(small_curated, tmp_path / "one", workers=1)
    assert content(tmp_path / "one") == content(small_dataset)
    shuffled = tmp_path / "curated"
    shutil.copytree(small_curated, shuffled)
    rows = schema.read(shuffled / "rows.parquet", schema.CURATED).sample(frac=1, random_state=0)
    schema.write(rows, shuffled / "rows.parquet", schema.CURATED)
    write_dataset(shuffled, tmp_path / "other")
    shards = {name: data for name, data in content(tmp_path / "other").items() if name.startswith("data/")}
    assert shards == {name: data for name, data in content(small_dataset).items() if name.startswith("data/")}


def test_rows_that_come_in_many_batches_are_sorted_the_same(small_curated, small_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(shardsort, "ROWS_PER_BATCH", 44)
    rows = schema.read(small_curated / "rows.parquet", schema.CURATED)
    assert len(rows) > 6 * shardsort.ROWS_PER_BATCH
    write_dataset(small_curated, tmp_path / "out")
    assert content(tmp_path / "out") == content(small_dataset)


def test_the_seed_decides_the_order(small_curated, small_dataset, tmp_path):
    other = write_dataset(small_curated, tmp_path / "other", seed=1)
    mine, theirs = Manifest.load(small_dataset).metadata(), other.metadata()
    assert sorted(mine["key"]) == sorted(theirs["key"])
    assert mine["key"].tolist() != theirs["key"].tolist()
    assert other.digest != Manifest.load(small_dataset).digest


def test_every_shard_is_a_mix_of_the_classes(small_dataset):
    metadata = Manifest.load(small_dataset).metadata()
    train = metadata[metadata["split"] == "train"]
    # 33 or 34 images of 5 classes, 270 in all: a shard without a class has chance 5 x 0.8^33 = 0.3 %
    assert (train.groupby("shard")["label"].nunique() == 5).all()
    assert train.groupby("shard").size().between(33, 34).all()


def test_another_storage_gets_the_same_bytes(small_curated, small_dataset):
    memory = fsspec.filesystem("memory")
    try:
        manifest = write_dataset(small_curated, "memory://shards-test/out")
        held = {path.split("/out/", 1)[1]: memory.cat_file(path) for path in memory.find("/shards-test/out")}
        assert held == content(small_dataset)
        assert manifest.root == "memory://shards-test/out"
        memory.put(str(small_curated), "/shards-test/curated", recursive=True)
        again = write_dataset("memory://shards-test/curated", "memory://shards-test/again")
        assert again.data == manifest.data
    finally:
        memory.store.clear()


def test_nothing_is_done_twice(small_curated, tmp_path):
    out = tmp_path / "out"
    first = write_dataset(small_curated, out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert write_dataset(small_curated, out).data == first.data
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("changed", [{"seed": 1}, {"format": "parquet"}, {"shard_size": 1000}, "curated"])
def test_other_settings_are_refused_not_mixed(finished, changed, small_curated, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        if not finished:
            patch.setattr(shards, "_publish", lambda *args: None)
        write_dataset(small_curated, out)
    before = content(out)
    curated = small_curated
    if changed == "curated":
        curated, changed = write_curated(tmp_path / "curated", classes=2, images=4), {}
    with pytest.raises(SettingsChangedError):
        write_dataset(curated, out, **changed)
    assert content(out) == before


class Injected(OSError):
    """What a full disk looks like."""


def count_writes(monkeypatch, fail_at=None):
    """Count each write, sync and rename, and fail at one of them."""
    calls = [0]

    def wrapped(function):
        def call(*args, **kwargs):
            calls[0] += 1
            if calls[0] == fail_at:
                raise Injected(28, "No space left on device")
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(shardformat.Tally, "write", wrapped(shardformat.Tally.write))
    monkeypatch.setattr(storage.os, "fsync", wrapped(os.fsync))
    monkeypatch.setattr(storage.os, "replace", wrapped(os.replace))
    return calls


def test_a_failure_at_any_of_twenty_write_points_costs_nothing(tmp_path, monkeypatch):
    curated = write_curated(tmp_path / "curated", classes=2, images=30)
    write = partial(write_dataset, curated, shard_size=20_000)
    with monkeypatch.context() as patch:
        calls = count_writes(patch)
        manifest = write(tmp_path / "counted", workers=1)
    assert calls[0] > 100
    assert manifest.splits["train"]["shards"] > 5
    wanted = content(tmp_path / "counted")
    points = [1, *range(2, calls[0], calls[0] // 18), calls[0]]
    assert len(points) >= 20
    for point in points:
        out = tmp_path / f"out-{point}"
        with monkeypatch.context() as patch:
            count_writes(patch, fail_at=point)
            with pytest.raises(OSError, match="No space left"):
                write(out, workers=1)
        left = content(out) if out.exists() else {}
        # every file under a final name is complete; the manifest may be there only if all others are
        whole = {name: data for name, data in left.items() if not name.startswith(shards.UNFINISHED)}
        assert all(wanted[name] == data for name, data in whole.items()), point
        before = {name: (out / name).stat().st_mtime_ns for name in whole if name.startswith("data/")}
        write(out)
        assert content(out) == wanted, point
        noted = {name for name in before if f"{shards.UNFINISHED}/{name.replace('/', '-')}.parquet" in left}
        assert all((out / name).stat().st_mtime_ns == before[name] for name in noted), point


KILLED = """
import os, signal, sys
from cytoimagenet.builder.shards import format as shardformat, write as shards
write, left = shardformat.Tally.write, [int(sys.argv[3])]
def dying(self, data):
    left[0] -= len(data)
    if left[0] < 0:
        write(self, data[:1000])
        self._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, data)
shardformat.Tally.write = dying
shards.write_dataset(sys.argv[1], sys.argv[2])
"""


def test_kill_9_in_the_middle_of_a_shard_and_run_again(small_curated, small_dataset, tmp_path):
    out = tmp_path / "out"
    command = [sys.executable, "-c", KILLED, str(small_curated), str(out), "1000000"]
    (tmp_path / "temporary").mkdir()
    killed = subprocess.run(command, check=False, env={**os.environ, "TMPDIR": str(tmp_path / "temporary")})
    assert killed.returncode == -9
    assert not any((tmp_path / "temporary").iterdir()), "what a kill leaves must lie where a rerun removes it"
    left = content(out)
    assert any(storage.TEMPORARY in name for name in left), "the kill came too late to show anything"
    assert "manifest.json" not in left
    write_dataset(small_curated, out)
    assert content(out) == content(small_dataset)


@pytest.mark.parametrize(
    ("images", "size", "shard_size", "wanted"),
    [
        (255, 100, 1000, 1),
        (255, 2500, 1000, 3),
        (256, 100, 1000, 8),
        (256, 8001, 1000, 16),
        (801_663, 50_400_000_000, 128_000_000, 400),
        (89_074, 5_600_000_000, 128_000_000, 48),
        (3, 10_000, 1000, 3),
        (300, 10_000_000, 1, 300),
    ],
)
def test_how_many_shards(images, size, shard_size, wanted):
    assert shard_count(images, size, shard_size) == wanted


@given(
    st.lists(st.text(max_size=120) | st.sampled_from(["a.png", "A.png", "ä.png", "a-2.png", "x" * 300]), max_size=30)
)
def test_keys_are_unique_short_and_plain(filenames):
    keys = safe_keys(filenames)
    assert len(set(keys)) == len(keys) == len(filenames)
    assert all(re.fullmatch(r"[0-9a-z_-]{1,95}", key) for key in keys)


def test_a_good_name_is_its_own_key_and_equal_names_get_numbers():
    assert safe_keys(["human-00001011.png"]) == ["human-00001011"]
    assert safe_keys(["a.png", "A.PNG", "a-2.png", "a"]) == ["a", "a-2", "a-2-2", "a-3"]
    assert safe_keys(["taxol (10 µm)-01.png", "...png"]) == ["taxol_10_m_-01", "_"]
    assert len(safe_keys(["image.png"] * 100_000)[-1]) == len("image-100000")


def curated_with(tmp_path, **changes):
    """A small curated folder whose first row is altered."""
    folder = tmp_path / "curated"
    write_curated(folder, classes=2, images=4)
    rows = schema.read(folder / "rows.parquet", schema.CURATED)
    for name, value in changes.items():
        rows.loc[0, name] = value
    schema.write(rows, folder / "rows.parquet", schema.CURATED)
    return folder


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"store_offset": 5}, CheckFailedError, "8-bit grey PNG"),
        ({"store_size": 10_000_000}, CheckFailedError, "8-bit grey PNG"),
        ({"width": 7}, CheckFailedError, "7x"),
        ({"store": "../curated/store/00000.bin"}, CheckFailedError, "outside"),
        ({"store": "/etc/passwd"}, CheckFailedError, "outside"),
        ({"store": "store/none.bin"}, FileNotFoundError, "none.bin"),
        ({"category": "gene"}, SchemaError, "two categories"),
        ({"split": "test"}, SchemaError, "Unknown split"),
    ],
)
def test_rows_that_do_not_fit_their_images_stop_the_run(changes, error, said, tmp_path):
    with pytest.raises(error, match=said):
        write_dataset(curated_with(tmp_path, **changes), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_is_no_curated_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no curated\.json"):
        write_dataset(tmp_path, tmp_path / "out")
    folder = curated_with(tmp_path)
    rows = schema.read(folder / "rows.parquet", schema.CURATED)
    schema.write(rows.head(0), folder / "rows.parquet", schema.CURATED)
    with pytest.raises(UsageError, match="no images"):
        write_dataset(folder, tmp_path / "out")
    with pytest.raises(UsageError, match="webdataset, parquet"):
        write_dataset(folder, tmp_path / "out", format="zip")


def test_parquet_shards_have_the_same_rows_and_raw_pngs(small_curated, small_dataset, tmp_path):
    twin = write_dataset(small_curated, tmp_path / "twin", format="parquet")
    mine, theirs = Manifest.load(small_dataset).metadata(), twin.metadata()
    columns = ["key", *schema.ROW.names, "size"]
    pd.testing.assert_frame_equal(mine[columns], theirs[columns])
    for row in theirs.itertuples():
        with open(tmp_path / "twin" / row.shard, "rb") as file:
            file.seek(row.offset)
            assert is_grey_png(file.read(row.size), row.width, row.height)
    table = pq.read_table(tmp_path / "twin" / "data" / "validation-00000-of-00001.parquet")
    assert table.column_names == ["image", "label", *(name for name in columns[:-1] if name != "label")]


def test_memory_does_not_grow_with_the_images(tmp_path, monkeypatch):
    """No more PNGs than a worker fetches at a time are in memory together."""
    curated = write_curated(tmp_path / "curated", classes=2, images=200)
    alive, most = [0], [0]

    class Png(bytes):
        def __del__(self):
            alive[0] -= 1

    read = shards.reader_of(curated)

    def fetch(*where):
        images = [Png(image) for image in read(*where)]
        alive[0] += len(images)
        most[0] = max(most[0], alive[0])
        return images

    write_dataset(curated, tmp_path / "out", workers=1, fetch=fetch)
    assert 0 < most[0] <= 2 * shards.IMAGES_PER_FETCH
