"""The manifest: what it answers, what it refuses, and which changes its digest and seal reveal."""

import hashlib
import json
import os

import fsspec
import pyarrow as pa
import pytest
from cytoimagenet.builder.dataset import manifest as manifests
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, CytoImageNetError, SchemaError, UsageError

FILE = {"rows": 2, "bytes": 30, "sha256": "0" * 64}
DATA = {
    "format": "cytoimagenet",
    "schema_version": "1.0.0",
    "shard_format": "webdataset",
    "settings": {"min_images": 1},
    "seed": 5,
    "versions": {"numpy": "2.1"},
    "classes": [
        {"label": "actin", "category": "cell_visible", "train": 2, "validation": 1},
        {"label": "human", "category": "organism", "train": 2, "validation": 0},
    ],
    "splits": {
        "train": {"rows": 4, "bytes": 60, "shards": 2},
        "validation": {"rows": 1, "bytes": 30, "shards": 1},
    },
    "files": {
        "data/train-00001-of-00002.tar": FILE,
        "data/train-00000-of-00002.tar": {**FILE, "sha256": "1" * 64},
        "data/validation-00000-of-00001.tar": {**FILE, "rows": 1},
        "metadata.parquet": {**FILE, "rows": 5},
    },
    "counts": {"images": 5},
    "pages": {},
}


def test_a_manifest_written_by_hand_answers_with_what_is_in_it(tmp_path):
    written = manifests.write(tmp_path, DATA)
    manifest = Manifest.load(tmp_path)
    assert manifest == written and hash(manifest) == hash(written)
    for name in ("schema_version", "shard_format", "settings", "seed", "versions", "classes", "splits", "files",
                 "counts", "pages"):  # fmt: skip
        assert getattr(manifest, name) == DATA[name], name
    assert manifest.class_names == ("actin", "human")
    assert [manifest.rows(split) for split in ("train", "validation", "sample")] == [4, 1, 0]
    assert manifest.shards("train") == [
        ("data/train-00000-of-00002.tar", 2, 30, "1" * 64),
        ("data/train-00001-of-00002.tar", 2, 30, "0" * 64),
    ]
    assert not hasattr(manifest, "nonsense")


def test_the_digest_covers_data_settings_and_seed_but_not_pages_and_versions():
    digest = manifests.digest(DATA)
    assert manifests.digest({**DATA, "pages": {"README.md": FILE}, "versions": {}, "seal": "x"}) == digest
    for change in ({"seed": 6}, {"settings": {}}, {"classes": DATA["classes"][:1]}, {"counts": {}}, {"files": {}}):
        assert manifests.digest({**DATA, **change}) != digest
    assert manifests.seal({**DATA, "pages": {"README.md": FILE}}) != manifests.seal(DATA)


def test_a_page_that_is_rewritten_changes_the_manifest_but_not_the_digest(tmp_path):
    before = manifests.write(tmp_path, DATA)
    (tmp_path / "README.md").write_bytes(b"# card")
    after = manifests.record_pages(before)
    assert after.pages == {"README.md": {"bytes": 6, "sha256": hashlib.sha256(b"# card").hexdigest()}}
    assert after.digest == before.digest and Manifest.load(tmp_path) == after


def test_the_manifest_refuses_what_is_none(small_dataset, tmp_path):
    with pytest.raises(UsageError, match="not a finished dataset"):
        Manifest.load(tmp_path)
    stored = json.loads((small_dataset / "manifest.json").read_text())
    path = tmp_path / "manifest.json"
    for change, error, said in (
        ({"format": "other"}, SchemaError, "not the manifest"),
        ({"schema_version": "9.0.0"}, SchemaError, r"reads 2\."),
        ({"classes": {}}, SchemaError, "classes"),
        ({"seed": 1}, CheckFailedError, "altered"),
        ({"files": {"../x": {"rows": 1, "bytes": 1, "sha256": "0" * 64}}}, SchemaError, "does not have: '../x'"),
        ({"files": {"metadata.parquet": {"rows": 1, "bytes": 1, "sha256": "0"}}}, SchemaError, "sha256"),
        ({"pages": {"setup.py": {"bytes": 1, "sha256": "0" * 64}}}, SchemaError, "does not have: 'setup.py'"),
        ({"pages": {"classes.parquet": {"bytes": 1, "sha256": "0" * 64}}}, SchemaError, "does not have"),
        ({"counts": {"split": {"plates": {"train": "1", "validation": 1, "unknown": 0}}}}, SchemaError, "'split' of"),
        ({"counts": {"split": 3}}, SchemaError, "'split' of 'counts'"),
        ({"shard_format": "zip"}, SchemaError, "No shard format 'zip'"),
        ({"shard_format": "parquet"}, SchemaError, r"does not have: 'data/.*\.tar'"),
    ):
        path.write_text(json.dumps(stored | change))
        with pytest.raises(error, match=said):
            Manifest.load(tmp_path)
    path.write_text("{")
    with pytest.raises(SchemaError, match="not JSON"):
        Manifest.load(tmp_path)
    manifests.write(tmp_path, stored | {"versions": {"numpy": "9"}})
    assert Manifest.load(tmp_path).digest == stored["digest"], "other library versions are no other data"


def test_a_manifest_that_is_no_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    os.mkfifo(path)
    with pytest.raises(SchemaError, match="not a regular file"):
        Manifest.load(tmp_path)  # opening the pipe would wait for ever
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(SchemaError, match="not a regular file"):
        Manifest.load(tmp_path)
    path.unlink()
    with open(path, "wb") as file:
        file.truncate(manifests.MAX_MANIFEST_BYTES + 1)
    with pytest.raises(SchemaError, match="larger than 67,108,864 bytes"):
        Manifest.load(tmp_path)
    path.unlink()
    manifests.write(tmp_path / "elsewhere", DATA)
    path.symlink_to(tmp_path / "elsewhere" / "manifest.json")
    assert Manifest.load(tmp_path).digest  # the cache of the Hub's client has such links


def test_storage_that_cannot_be_reached_is_named(monkeypatch):
    class NoCredentials(Exception):
        """What clients of object stores raise: no OSError."""

    def refuse(*args, **kwargs):
        raise NoCredentials("unable to locate them\nat great length")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
    with pytest.raises(CytoImageNetError, match="unable to locate them") as caught:
        Manifest.load("memory://lab/cytoimagenet")
    assert "at great length" not in str(caught.value)
    assert caught.value.where == "memory://lab/cytoimagenet/manifest.json"


def test_the_manifest_answers(small_dataset):
    manifest = Manifest.load(small_dataset)
    counts = {"rows": {"in": 3, "left": {"dim": 1}, "lost": {}}}
    settings = {"sources": [], "evaldata": "", "only": ["a", "b"], "fly": None, "stretch": False}
    text = repr(Manifest(manifest.root, {**manifest.data, "counts": counts, "settings": settings}))
    assert "counts    rows.in=3, rows.left.dim=1\n" in text
    assert (
        "sources=none given, evaldata=none given, only=a|b, fly=none given, stretch=False; images shuffled by seed 0\n"
        in text
    )
    assert manifest.class_names == ("actin", "golgi/cell membrane", "hela", "human", "taxol (10 µm)")
    assert [manifest.rows(split) for split in ("train", "validation", "sample", "test")] == [270, 30, 50, 0]
    shards_of_train = manifest.shards("train")
    assert [shard[0] for shard in shards_of_train] == [f"data/train-{i:05d}-of-00008.tar" for i in range(8)]
    for path, rows, size, sha256 in shards_of_train:
        data = (small_dataset / path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, sha256)
        assert rows in (33, 34)
    with pytest.raises(UsageError, match="train, validation, sample"):
        manifest.shards("test")
    text = repr(manifest)
    for part in (
        str(small_dataset), "300 images of 5 classes", "golgi/cell membrane", "cell_visible", "rejected=3",
        "shard_size=128000000", "min_images=1", "shuffled by seed 0", f"pyarrow={pa.__version__}", manifest.digest,
    ):  # fmt: skip
        assert part in text


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"seed": 5', '"seed": NaN', "too large, or is no number"),
        ('"seed": 5', '"seed": 1e999', "too large, or is no number"),
        ('"bytes": 30', f'"bytes": {"9" * 400}', "too large, or is no number"),
        ('"bytes": 30', f'"bytes": {"9" * 5000}', "not JSON"),
        ('"images": 5', f'"images": {nested(800)}', "nested more than 32 deep"),
        ('"images": 5', f'"images": {nested(100_000)}', "not JSON|nested"),
        ('"actin"', r'"\ud800"', "not Unicode"),
        ('"actin"', '"\\udfffx"', "not Unicode"),
    ],
)
def test_numbers_and_texts_that_no_manifest_has(tmp_path, old, new, reason):
    manifests.write(tmp_path, DATA)
    text = (tmp_path / "manifest.json").read_text()
    assert old in text
    (tmp_path / "manifest.json").write_text(text.replace(old, new))
    with pytest.raises(SchemaError, match=reason):
        Manifest.load(tmp_path)
