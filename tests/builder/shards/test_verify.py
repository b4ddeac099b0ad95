"""`verify` finds and names every problem, and can't be harmed by the files it reads."""

import hashlib
import http.server
import io
import json
import os
import pickle
import random
import shutil
import tarfile
import threading
from functools import partial

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, CytoImageNetError, SchemaError
from cytoimagenet.builder.shards.format import header
from cytoimagenet.builder.shards.verify import inspect, verify
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated

from tests import memory

SHARD = "data/train-00000-of-00008.tar"
VALIDATION = "data/validation-00000-of-00001.tar"


@pytest.fixture
def copy(small_dataset, tmp_path):
    """A dataset folder of one's own, to be harmed."""
    shutil.copytree(small_dataset, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def twin(small_curated, tmp_path_factory):
    out = tmp_path_factory.mktemp("twin") / "twin"
    write_dataset(small_curated, out, format="parquet")
    return out


def problems(folder):
    return inspect(folder).problems


def sealed(folder, change=None, files=()):
    """Alter the manifest and make its digest and hashes right again, as a forger would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if change:
        change(manifest)
    for name in files:
        data = (folder / name).read_bytes()
        manifest["files"][name] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for entry in manifest["splits"].values():
        entry["bytes"] = 0
    for name, entry in manifest["files"].items():
        if name.startswith("data/"):
            manifest["splits"][name.removeprefix("data/").split("-")[0]]["bytes"] += entry["bytes"]
    manifests.write(folder, manifest)


def test_a_sound_folder_is_sound(small_dataset, twin):
    for folder in (small_dataset, twin):
        report = verify(folder)
        assert (report.images, report.problems, report.notes) == (300, [], [])
        on_disk = [p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"]
        assert report.files == len(on_disk)
        assert report.bytes == sum(p.stat().st_size for p in on_disk)


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_any_flipped_bit_is_found_in_the_file_it_is_in(form, small_dataset, twin, tmp_path, rng):
    folder = tmp_path / "copy"
    shutil.copytree(small_dataset if form == "webdataset" else twin, folder)
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        for at in {0, len(data) - 1, int(rng.integers(len(data)))}:
            harmed = bytearray(data)
            harmed[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(harmed)
            found = problems(folder)
            assert found and found[0].startswith(str(path.relative_to(folder))), (path, at, found)
        path.write_bytes(data)
    assert problems(folder) == []


def test_absent_short_and_unexpected_files_are_named(copy):
    (copy / SHARD).unlink()
    (copy / VALIDATION).write_bytes((copy / VALIDATION).read_bytes()[:-512])
    for name in ("cytoimagenet.py", "weights.pkl", "data/extra.tar", "data/.partial-train-1-2", "notes.txt"):
        (copy / name).write_bytes(b"x")
    (copy / ".git").mkdir()
    (copy / ".git" / "HEAD").write_text("ref")
    (copy / ".gitattributes").write_text("*")
    found = "\n".join(problems(copy))
    assert f"{SHARD}: absent" in found
    assert f"{VALIDATION}: 204,288 bytes; the manifest records 204,800" in found
    for name in ("cytoimagenet.py", "weights.pkl"):
        assert f"{name}: unexpected, and of a kind that can run code" in found
    for name in ("data/extra.tar", "data/.partial-train-1-2", "notes.txt"):
        assert f"{name}: unexpected\n" in found + "\n"
    assert len(found.splitlines()) == 7
    with pytest.raises(CheckFailedError, match="7 problems") as caught:
        verify(copy)
    assert len(caught.value.problems) == 7
    (copy / "README.md").unlink()
    assert "README.md: absent" in "\n".join(problems(copy))


def test_nothing_is_unpickled(copy):
    class Bomb:
        def __reduce__(self):
            return exec, ("raise SystemExit('unpickled')",)

    (copy / "weights.pkl").write_bytes(pickle.dumps(Bomb()))
    assert problems(copy) == ["weights.pkl: unexpected, and of a kind that can run code; don't open it"]


def rebuilt(shard, change):
    """A tar whose list of (TarInfo, bytes) was changed."""
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        members = [(m, tar.extractfile(m).read()) for m in tar]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in change(members):
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def renamed(to):
    def change(members):
        members[0][0].name = to
        return members

    return change


def typed(kind):
    def change(members):
        members[0][0].type, members[0][0].linkname = kind, "/etc/passwd"
        return members

    return change


def with_json(**columns):
    def change(members):
        info, content = members[1]
        members[1] = info, json.dumps(json.loads(content) | columns, separators=(",", ":")).encode()
        return members

    return change


def with_content(number, content):
    def change(members):
        members[number] = members[number][0], content
        return members

    return change


def pax(members):
    members[0][0].pax_headers = {"comment": "x" * 2000}
    return members


def owned(members):
    members[0][0].uid = 1000
    return members


FORGERIES = {
    "a path that leads outside": (renamed("../../outside.png"), "must be"),
    "an absolute path": (renamed("/etc/passwd"), "must be"),
    "a dot in the key": (renamed("a.b.png"), "must be"),
    "a long name": (renamed("x" * 150 + ".png"), "not a plain file"),
    "a symlink": (typed(tarfile.SYMTYPE), "not a plain file"),
    "a hard link": (typed(tarfile.LNKTYPE), "not a plain file"),
    "a device": (typed(tarfile.CHRTYPE), "not a plain file"),
    "a fifo": (typed(tarfile.FIFOTYPE), "not a plain file"),
    "a directory": (typed(tarfile.DIRTYPE), "not a plain file"),
    "a pax header": (pax, "not a plain file"),
    "an owner": (owned, "not a plain file"),
    "an image left out": (lambda members: members[3:], "metadata.parquet differs in"),
    "an image more": (lambda members: members + members[:3], "more than the 33 images"),
    "a member left out": (lambda members: members[:1] + members[2:], "must be"),
    "an image twice": (lambda members: members[:3] + members[:3] + members[6:], "metadata.parquet differs in"),
    "two images exchanged": (lambda members: members[3:6] + members[:3] + members[6:], "metadata.parquet differs in"),
    "another class number": (with_content(2, b"77"), "not the number of its class"),
    "a class number with a sign": (with_content(2, b"+1"), "not the number of its class"),
    "no JSON": (with_content(1, b"{"), "not JSON"),
    "deep JSON": (with_content(1, b"[" * 200_000), "not JSON"),
    "another column": (with_json(extra=1), "are not those of the schema"),
    "another type": (with_json(width="9"), "width is not of type int"),
    "another value": (with_json(gene="tp53"), "metadata.parquet differs in gene"),
    "another key": (with_json(key="other"), "has the key 'other'"),
    "a JPEG": (with_content(0, b"\xff\xd8\xff"), "8-bit grey PNG"),
    "no image": (with_content(0, b""), "8-bit grey PNG"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_shard_is_found_though_all_hashes_fit(forgery, copy):
    change, said = FORGERIES[forgery]
    (copy / SHARD).write_bytes(rebuilt((copy / SHARD).read_bytes(), change))
    sealed(copy, files=[SHARD])
    found = [problem for problem in problems(copy) if problem.startswith(SHARD)]
    assert found, "not found"
    assert any(part in found[0] for part in said.split("|")), found


def test_a_huge_member_is_not_read(copy):
    data = bytearray((copy / SHARD).read_bytes())
    name = data[:100].rstrip(b"\0").decode()
    data[:512] = header(name, 8**10)
    (copy / SHARD).write_bytes(data)
    sealed(copy, files=[SHARD])
    assert any("gives it 1,073,741,824 bytes" in problem for problem in problems(copy))


def test_bytes_hidden_behind_a_member_or_the_end_are_found(copy):
    data = (copy / SHARD).read_bytes()
    size = int(data[124:135], 8)
    assert size % 512
    (copy / SHARD).write_bytes(data[: 512 + size] + b"x" + data[512 + size + 1 :])
    sealed(copy, files=[SHARD])
    assert any("bytes are hidden after" in problem for problem in problems(copy))


def test_bytes_behind_the_end_of_a_shard_are_found(copy):
    data = (copy / SHARD).read_bytes()
    for more in (b"#!/bin/sh\n".ljust(tarfile.RECORDSIZE, b"\0"), bytes(tarfile.RECORDSIZE)):
        (copy / SHARD).write_bytes(data + more)
        sealed(copy, files=[SHARD])
        assert f"{SHARD}: bytes are hidden after its end" in problems(copy)
    (copy / SHARD).write_bytes(data[:-1] + b"x")
    sealed(copy, files=[SHARD])
    assert f"{SHARD}: bytes are hidden after its end" in problems(copy)


def test_shards_that_are_noise_are_problems_not_crashes(copy, rng):
    noise = rng.integers(0, 256, 3000, dtype=np.uint8).tobytes()
    for name in (SHARD, VALIDATION, "data/sample-00000-of-00001.tar"):
        (copy / name).write_bytes(noise)
    for name in ("metadata.parquet", "classes.parquet", "rejected.parquet"):
        (copy / name).write_bytes(noise)
    files = [SHARD, VALIDATION, "metadata.parquet", "classes.parquet", "rejected.parquet"]
    sealed(copy, files=[*files, "data/sample-00000-of-00001.tar"])
    found = problems(copy)
    for name in files:
        assert any(problem.startswith(name) for problem in found), name


def test_a_count_that_does_not_add_up_is_found(copy):
    def more(manifest):
        manifest["classes"][2]["train"] += 1

    sealed(copy, more)
    found = problems(copy)
    assert any("class 'hela' has {'train': 54, 'validation': 6} images" in problem for problem in found)
    assert any(problem.startswith("classes.parquet: its classes") for problem in found)


def test_a_split_that_is_not_the_sum_of_its_shards_is_found(copy):
    def more(manifest):
        manifest["splits"]["train"]["rows"] += 1

    sealed(copy, more)
    assert problems(copy) == ["manifest.json: split 'train' is not the sum of its shards"]


def test_other_tables_are_found(copy):
    table = pq.read_table(copy / "rejected.parquet")
    pq.write_table(table.drop_columns(["reason"]).slice(1), copy / "rejected.parquet")
    sealed(copy, files=["rejected.parquet"])
    assert problems(copy) == [
        "rejected.parquet: 2 rows; the manifest records 3",
        "rejected.parquet: its columns are not those of the schema",
    ]


@pytest.mark.parametrize("published", [False, True])
def test_crops_of_one_source_image_on_both_sides(published, tmp_path):
    curated = tmp_path / "curated"
    write_curated(curated, classes=2, images=40)
    rows = schema.read(curated / "rows.parquet", schema.CURATED)
    rows["channels"] += "|made_up/raw/second-" + rows.index.astype(str) + ".tif#xywh=0,0,9,9"
    same = rows.index[rows["split"] == "validation"][0]
    rows.loc[0, "channels"] = rows.loc[same, "channels"].replace("0,0,9,9", "9,9,9,9")
    schema.write(rows, curated / "rows.parquet", schema.CURATED)
    if published:
        (curated / "curated.json").write_text(json.dumps({"settings": {"split": "published"}}))
    write_dataset(curated, tmp_path / "out")
    report = inspect(tmp_path / "out")
    if published:
        assert report.problems == []
        assert "as published" in report.notes[0]
    else:
        assert report.problems == ["metadata.parquet: 2 source images have crops in train and in validation"]


def test_a_key_twice_is_found(copy):
    """The same image in two shards, with metadata and manifest to match."""
    table = pq.read_table(copy / "metadata.parquet")
    first, second = (f"data/train-{i:05d}-of-00008.tar" for i in (1, 2))
    (copy / second).write_bytes((copy / first).read_bytes())
    rows = table.to_pylist()
    twin = [row | {"shard": second} for row in rows if row["shard"] == first]
    kept = [row for row in rows if row["shard"] != second]
    at = next(i for i, row in enumerate(kept) if row["shard"] > second)
    groups = [kept[:at], twin, kept[at:]]
    with pq.ParquetWriter(copy / "metadata.parquet", schema.METADATA) as writer:
        for group in groups:
            for name in dict.fromkeys(row["shard"] for row in group):
                part = [row for row in group if row["shard"] == name]
                writer.write_table(type(table).from_pylist(part, schema=schema.METADATA))

    def counted(manifest):
        manifest["files"][second]["rows"] = manifest["files"][first]["rows"]
        manifest["files"]["metadata.parquet"]["rows"] = sum(map(len, groups))
        manifest["splits"]["train"]["rows"] = sum(
            entry["rows"] for name, entry in manifest["files"].items() if name.startswith("data/train")
        )

    sealed(copy, counted, files=[second, "metadata.parquet"])
    assert f"metadata.parquet: {len(twin)} keys occur twice" in problems(copy)


def test_images_without_metadata_and_the_reverse(copy):
    table = pq.read_table(copy / "metadata.parquet")
    with pq.ParquetWriter(copy / "metadata.parquet", schema.METADATA) as writer:
        for name in dict.fromkeys(table["shard"].to_pylist()):
            part = [row for row in table.to_pylist() if row["shard"] == name]
            writer.write_table(type(table).from_pylist(part[:-1] if name == SHARD else part, schema=schema.METADATA))

    def counted(manifest):
        manifest["files"]["metadata.parquet"]["rows"] -= 1

    sealed(copy, counted, files=["metadata.parquet"])
    assert f"{SHARD}: 33 images; metadata.parquet has 32" in problems(copy)


def test_a_table_without_rows_is_found(copy):
    """The manifest agrees with the table, and every shard with its own entry."""
    with pq.ParquetWriter(copy / "metadata.parquet", schema.METADATA):
        pass

    def counted(manifest):
        manifest["files"]["metadata.parquet"]["rows"] = 0

    sealed(copy, counted, files=["metadata.parquet"])
    found = problems(copy)
    assert "metadata.parquet: 0 rows; the shards have 300 images" in found
    assert sum(problem.endswith("images; metadata.parquet has 0") for problem in found) == 9


def test_rows_of_an_unknown_shard_are_found(copy):
    table = pq.read_table(copy / "metadata.parquet")
    stray = table.slice(0, 1).to_pylist()[0] | {"key": "stray", "shard": "data/train-00008-of-00009.tar"}
    with pq.ParquetWriter(copy / "metadata.parquet", schema.METADATA) as writer:
        for name in dict.fromkeys(table["shard"].to_pylist()):
            part = [row for row in table.to_pylist() if row["shard"] == name]
            writer.write_table(type(table).from_pylist(part, schema=schema.METADATA))
        writer.write_table(type(table).from_pylist([stray], schema=schema.METADATA))

    def counted(manifest):
        manifest["files"]["metadata.parquet"]["rows"] += 1

    sealed(copy, counted, files=["metadata.parquet"])
    assert problems(copy) == ["metadata.parquet: 301 rows; the shards have 300 images"]


def test_pipes_are_not_opened_and_links_are_noted(copy, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.move(copy / SHARD, elsewhere)
    (copy / SHARD).symlink_to(elsewhere)
    report = inspect(copy)
    assert (report.problems, report.notes) == ([], [f"{SHARD} is a link to another place, which can change"])
    (copy / SHARD).unlink()
    os.mkfifo(copy / SHARD)

    def empty(manifest):
        manifest["files"][SHARD]["bytes"] = 0  # the size of a pipe

    sealed(copy, empty)
    assert f"{SHARD}: not a regular file" in problems(copy)


def test_wrong_offsets_of_a_parquet_folder_are_found(twin, tmp_path):
    folder = tmp_path / "twin"
    shutil.copytree(twin, folder)
    table = pq.ParquetFile(folder / "metadata.parquet")
    groups = [table.read_row_group(i) for i in range(table.num_row_groups)]
    with pq.ParquetWriter(folder / "metadata.parquet", schema.METADATA) as writer:
        for group in groups:
            rows = [row | {"offset": row["offset"] + 1} for row in group.to_pylist()]
            writer.write_table(type(group).from_pylist(rows, schema=schema.METADATA))
    sealed(folder, files=["metadata.parquet"])
    assert all("not at the offset" in problem for problem in problems(folder))
    assert len(problems(folder)) == 9 * 5, "five of each shard"


def test_over_urls(small_dataset):
    memory = fsspec.filesystem("memory")
    memory.put(str(small_dataset), "/verify-test/copy", recursive=True)
    try:
        assert verify("memory://verify-test/copy").images == 300
        memory.pipe_file("/verify-test/copy/cytoimagenet.py", b"x")
        assert problems("memory://verify-test/copy")[0].startswith("cytoimagenet.py: unexpected")
    finally:
        memory.store.clear()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_over_http(copy):
    pytest.importorskip("aiohttp")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(copy)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        report = inspect(url)
        assert (report.problems, report.images) == ([], 300)
        assert "can't be listed" in report.notes[0]
        data = bytearray((copy / VALIDATION).read_bytes())
        data[100_000] ^= 1
        (copy / VALIDATION).write_bytes(data)
        (copy / "classes.parquet").unlink()
        found = problems(url)
        assert any(p.startswith(f"{VALIDATION}: sha256 differs") for p in found)
        assert "classes.parquet: absent" in found
    finally:
        server.shutdown()


def test_the_number_of_workers_changes_nothing(copy):
    data = bytearray((copy / SHARD).read_bytes())
    data[5000] ^= 4
    (copy / SHARD).write_bytes(data)
    assert vars(inspect(copy, workers=1)) == vars(inspect(copy, workers=8))


def places(value, path=()):
    """Every place in a nested JSON value."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


JUNK = [None, True, -1, 3.5, "", "../x", "\0", "data/train-x.tar", [], {}, [1], {"rows": "many"}, 10**30]


def test_a_manifest_with_any_place_altered_is_a_problem_not_a_crash(copy):
    """Digest and seal are forged to fit; nonsense in the manifest must not become a traceback."""
    manifest = json.loads((copy / "manifest.json").read_text())
    forged = random.Random(0).sample([(p, junk) for p in places(manifest) if p for junk in JUNK], 60)
    for path, junk in forged:
        altered = json.loads(json.dumps(manifest))
        inner = altered
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = junk
        altered["digest"] = manifests.digest(altered)
        altered["seal"] = manifests.seal(altered)
        (copy / "manifest.json").write_bytes(manifests.rendered(altered))
        report = inspect(copy)
        assert all(isinstance(problem, str) for problem in report.problems), path
        outside = path[0] in ("versions", "settings", "counts", "seed", "digest", "seal") or len(path) == 1
        assert report.problems or outside, (path, junk)
        try:
            repr(manifests.Manifest.load(copy))
        except CytoImageNetError:
            assert report.problems, (path, junk)


def test_without_a_manifest_there_is_one_problem(tmp_path):
    assert problems(tmp_path) == ["manifest.json: This is not a finished dataset folder: it has no manifest.json"]
    with pytest.raises(CheckFailedError):
        verify(tmp_path)


def test_metadata_that_is_no_text_is_a_problem_and_no_traceback(copy):
    table = pq.read_table(copy / "metadata.parquet")
    broken = pa.Array.from_buffers(pa.string(), 300, pa.array([b"\xff\xfe"] * 300).buffers())
    at = table.column_names.index("gene")
    table = table.set_column(at, table.schema.field("gene"), broken)
    pq.write_table(table, copy / "metadata.parquet")
    sealed(copy, files=["metadata.parquet"])
    assert any("metadata.parquet: Not a readable Parquet file" in one for one in problems(copy))
    with pytest.raises(SchemaError, match="Not a readable Parquet file"):
        Manifest.load(copy).metadata()


def test_a_bomb_in_metadata_is_a_problem_and_no_lack_of_memory(copy):
    table = pq.read_table(copy / "metadata.parquet")
    at = table.column_names.index("gene")
    long = pa.array(["x" * 2**23] * 300)  # 2.5 GB, stored once
    table = table.set_column(at, table.schema.field("gene"), long)
    pq.write_table(table, copy / "metadata.parquet", compression="zstd")
    del long, table
    sealed(copy, files=["metadata.parquet"])
    assert (copy / "metadata.parquet").stat().st_size < 200_000
    with memory.at_most(600 * 2**20):
        assert any("its texts would take 2,516," in one for one in problems(copy))
        with pytest.raises(SchemaError, match="its texts would take"):
            Manifest.load(copy).metadata()
