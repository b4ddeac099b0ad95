"""Every call that reads the dataset gives every image, class and column: by folder, name, class or offset."""

import hashlib
import io
import json
import pickle
import shutil
import subprocess
import sys
import tarfile

import cytoimagenet
import datasets
import fsspec
import numpy as np
import pandas as pd
import pytest
from cytoimagenet import CytoImageNet
from cytoimagenet.builder import schema
from cytoimagenet.builder.dataset import find as locate
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.builder.hf import examples
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.shards.write import write_dataset
from PIL import Image

METADATA = ["key", *(name for name in schema.ROW.names if name != "label")]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    """What other tests built must not be found here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture(scope="module")
def twin(small_curated, tmp_path_factory):
    """The same images as Parquet."""
    out = tmp_path_factory.mktemp("twin") / "cytoimagenet-parquet"
    write_dataset(small_curated, out, format="parquet")
    return out


@pytest.fixture(scope="module")
def truth(small_curated, small_dataset):
    """Key -> (PNG bytes, class, metadata), from the curated folder, not through any reader of ours."""
    curated = schema.read(small_curated / "rows.parquet", schema.CURATED)
    curated = curated.astype(object).where(curated.notna(), None)
    names = sorted(set(curated["label"]))
    keys = Manifest.load(small_dataset).metadata().set_index("filename")["key"]
    found = {}
    for row in curated.to_dict("records"):
        with open(small_curated / row["store"], "rb") as file:
            png = file.read()[row["store_offset"] :][: row["store_size"]]
        row["key"] = keys[row["filename"]]
        found[row["key"]] = png, names.index(row["label"]), {name: row[name] for name in METADATA}
    return found


def of_split(truth, split):
    return {key: entry for key, entry in truth.items() if entry[2]["split"] == split}


def content_of(dataset):
    """Key -> (PNG bytes, class, metadata), as a data set of `datasets` tells it; each key once."""
    rows = list(dataset.cast_column("image", datasets.Image(decode=False)))
    found = {row["key"]: (row["image"]["bytes"], row["label"], {name: row[name] for name in METADATA}) for row in rows}
    assert len(found) == len(rows)
    return found


PLAIN = """
import hashlib, json, sys
sys.modules["cytoimagenet"] = None  # whoever tries to import our package fails
from datasets import load_dataset
whole, stream = load_dataset("cytoimagenet"), load_dataset("cytoimagenet", streaming=True)
sample = load_dataset("cytoimagenet", "sample")
found = {}
for split, rows in whole.items():
    names = rows.features["cls"].names
    streamed = {row["json"]["key"]: row["png"].tobytes() for row in stream[split]}
    for row in rows:
        assert streamed.pop(row["json"]["key"]) == row["png"].tobytes()
        found[row["json"]["key"]] = [split, names[row["cls"]], row["png"].mode,
                                    hashlib.sha256(row["png"].tobytes()).hexdigest(), row["json"]]
    assert not streamed
print(json.dumps([whole["train"].column_names, stream["train"].column_names, sample["train"].num_rows, found]))
"""


def test_the_folder_alone_without_our_package(small_dataset, truth):
    ran = subprocess.run(
        [sys.executable, "-I", "-c", PLAIN], cwd=small_dataset.parent, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    columns, streamed, in_sample, found = json.loads(ran.stdout)
    assert columns == streamed == ["png", "cls", "json"]
    assert in_sample == 50
    assert sorted(found) == sorted(truth)
    for key, (split, label, mode, pixels, row) in found.items():
        png, _, metadata = truth[key]
        image = Image.open(io.BytesIO(png))
        assert (split, mode) == (metadata["split"], "L")
        assert Manifest.load(small_dataset).class_names[truth[key][1]] == label == row.pop("label")
        assert row == metadata
        assert hashlib.sha256(image.tobytes()).hexdigest() == pixels


def in_the_working_directory(dataset, monkeypatch):
    monkeypatch.chdir(dataset.parent)
    return {}


def by_data_dir(dataset, monkeypatch):
    return {"data_dir": str(dataset)}


def by_home(dataset, monkeypatch):
    monkeypatch.setenv("CYTOIMAGENET_HOME", str(dataset))
    return {}


def by_home_of_the_folder(dataset, monkeypatch):
    monkeypatch.setenv("CYTOIMAGENET_HOME", str(dataset.parent))
    return {}


def by_cache(dataset, monkeypatch):
    locate.remember(dataset)
    return {}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    "place", [in_the_working_directory, by_data_dir, by_home, by_home_of_the_folder, by_cache], ids=lambda f: f.__name__
)
def test_by_name_from_every_place(place, streaming, small_dataset, truth, monkeypatch):
    where = place(small_dataset, monkeypatch)
    by_hook = datasets.load_dataset("cytoimagenet", streaming=streaming, **where)
    ours = cytoimagenet.load_dataset(streaming=streaming, **where)
    for loaded in (by_hook, ours):
        assert list(loaded) == ["train", "validation"]
        assert loaded["train"].column_names == ["image", "label", *METADATA]
        assert loaded["train"].features["label"].names == list(Manifest.load(small_dataset).class_names)
        assert {**content_of(loaded["train"]), **content_of(loaded["validation"])} == truth
    image = next(iter(by_hook["train"]))["image"]
    assert image.mode == "L"


def test_data_dir_goes_before_home_and_home_before_the_rest(small_dataset, twin, monkeypatch, tmp_path):
    monkeypatch.setenv("CYTOIMAGENET_HOME", str(small_dataset))
    locate.remember(twin)
    assert locate.find(twin) == str(twin)
    assert locate.find() == str(small_dataset)
    monkeypatch.delenv("CYTOIMAGENET_HOME")
    assert locate.find() == str(twin)
    monkeypatch.chdir(small_dataset.parent)
    assert locate.find() == str(small_dataset)


@pytest.mark.parametrize("streaming", [False, True])
def test_parquet_shards_give_the_same(twin, truth, streaming):
    ours = cytoimagenet.load_dataset(data_dir=twin, streaming=streaming)
    assert {**content_of(ours["train"]), **content_of(ours["validation"])} == truth
    plain = datasets.load_dataset(str(twin), streaming=streaming)
    assert plain["train"].column_names == ["image", "label", *METADATA]
    assert plain["train"].features["label"].names == list(Manifest.load(twin).class_names)
    assert {**content_of(plain["train"]), **content_of(plain["validation"])} == truth


@pytest.mark.parametrize("config", ["default", *schema.CATEGORIES])
def test_configs_hold_the_classes_of_their_category(config, small_dataset, truth, monkeypatch):
    monkeypatch.chdir(small_dataset.parent)
    wanted = {key: entry for key, entry in truth.items() if config in ("default", entry[2]["category"])}
    if not wanted:
        with pytest.raises(UsageError, match="cell_type, cell_visible, compound, organism"):
            datasets.load_dataset("cytoimagenet", config)
        return
    for streaming in (False, True):
        loaded = datasets.load_dataset("cytoimagenet", config, streaming=streaming)
        assert {**content_of(loaded["train"]), **content_of(loaded["validation"])} == wanted
    assert len(wanted) < len(truth) or config == "default"


def test_the_sample_and_chosen_labels(small_dataset, truth, monkeypatch):
    monkeypatch.chdir(small_dataset.parent)
    sample = datasets.load_dataset("cytoimagenet", "sample")
    assert list(sample) == ["train"]
    found = content_of(sample["train"])
    assert found == {key: truth[key] for key in found}
    assert pd.Series([entry[1] for entry in found.values()]).value_counts().to_dict() == dict.fromkeys(range(5), 10)
    for labels in (["hela", "taxol (10 µm)"], ("hela", "taxol (10 µm)")):
        chosen = cytoimagenet.load_dataset(labels=labels, split="train")
        wanted = {k: v for k, v in of_split(truth, "train").items() if v[1] in (2, 4)}
        assert content_of(chosen) == wanted
    by_hook = datasets.load_dataset("cytoimagenet", labels=["hela", "taxol (10 µm)"], split="train")
    assert content_of(by_hook) == wanted
    few = datasets.load_dataset("cytoimagenet", "sample", labels=["hela"], streaming=True, split="train")
    assert {entry[1] for entry in content_of(few).values()} == {2}
    with pytest.raises(UsageError, match="Did you mean 'hela'"):
        cytoimagenet.load_dataset(labels=["hella"])
    with pytest.raises(UsageError, match="There are default, sample, clean, embeddings, organism"):
        cytoimagenet.load_dataset("organisms")


@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_few_classes_are_read_without_the_rest(form, small_dataset, twin, truth, tmp_path, monkeypatch):
    """Overwrite every image of the other classes: who asks for one class in five must not notice."""
    folder = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset if form == "webdataset" else twin, folder)
    wanted = {key: entry for key, entry in truth.items() if entry[1] == 3}
    metadata = Manifest.load(folder).metadata()
    for shard, rows in metadata.groupby("shard"):
        data = (folder / shard).read_bytes()
        kept = bytearray(len(data))
        for row in rows[rows["label"] == "human"].itertuples():
            kept[row.offset : row.offset + row.size] = data[row.offset : row.offset + row.size]
        (folder / shard).write_bytes(kept)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for streaming in (True, False):
        loaded = cytoimagenet.load_dataset("organism", data_dir=folder, streaming=streaming)
        assert {**content_of(loaded["train"]), **content_of(loaded["validation"])} == wanted
    with pytest.raises(CheckFailedError, match="not at the place that metadata"):
        cytoimagenet.load_dataset(labels=["actin"], data_dir=folder)
    monkeypatch.setattr(examples, "MAX_FRACTION_BY_PLACE", 0)
    with pytest.raises(CheckFailedError, match="damaged"):
        list(cytoimagenet.load_dataset("organism", data_dir=folder, streaming=True)["train"])
    through = cytoimagenet.load_dataset("organism", data_dir=small_dataset, streaming=True, split="train")
    monkeypatch.undo()
    by_place = cytoimagenet.load_dataset("organism", data_dir=small_dataset, streaming=True, split="train")
    assert [row["key"] for row in through] == [row["key"] for row in by_place]


def test_slices_splits_and_processes(small_dataset, truth, monkeypatch):
    monkeypatch.chdir(small_dataset.parent)
    train = datasets.load_dataset("cytoimagenet", split="train", num_proc=2, cache_dir="two")
    assert content_of(train) == of_split(truth, "train")
    assert train["key"][:] == datasets.load_dataset("cytoimagenet", split="train")["key"][:]
    part = datasets.load_dataset("cytoimagenet", split="train[10:20]")
    assert part["key"][:] == train["key"][10:20]
    both = datasets.load_dataset("cytoimagenet", split="train[:50%]+validation")
    assert both.num_rows == 135 + 30
    few = datasets.load_dataset("cytoimagenet", data_files={"train": "data/train-0000[01]-*.tar"}, split="train")
    assert few["key"][:] == train["key"][: len(few)]
    assert 0 < len(few) < len(train)
    assert datasets.get_dataset_config_names("cytoimagenet") == [
        "default",
        "sample",
        "clean",
        "embeddings",
        *schema.CATEGORIES,
    ]
    assert datasets.get_dataset_split_names("cytoimagenet") == ["train", "validation"]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_data_loader_workers(start, small_dataset, truth, monkeypatch):
    from torch.utils.data import DataLoader

    monkeypatch.chdir(small_dataset.parent)
    for streaming in (False, True):
        rows = datasets.load_dataset("cytoimagenet", split="validation" if streaming else "train", streaming=streaming)
        if streaming:
            rows = datasets.load_dataset("cytoimagenet", split="train", streaming=True)
            assert rows.num_shards == 8
        workers = 2 if streaming or start == "fork" else 1  # a spawned one takes seconds to start
        rows = rows.select_columns(["key", "image"])
        loader = DataLoader(rows, batch_size=16, num_workers=workers, multiprocessing_context=start, collate_fn=list)
        seen = [(row["key"], np.asarray(row["image"]).tobytes()) for batch in loader for row in batch]
        pixels = {k: Image.open(io.BytesIO(v[0])).tobytes() for k, v in of_split(truth, "train").items()}
        assert dict(seen) == pixels
        assert len(seen) == len(pixels)


def test_pickling(small_dataset, truth, monkeypatch):
    rows = cytoimagenet.load_dataset(data_dir=small_dataset, split="validation")
    stream = cytoimagenet.load_dataset(data_dir=small_dataset, split="validation", streaming=True)
    manifest = Manifest.load(small_dataset)
    for thing in (rows, stream):
        assert content_of(pickle.loads(pickle.dumps(thing))) == of_split(truth, "validation")
    assert pickle.loads(pickle.dumps(manifest)) == manifest


def test_the_class_used_directly(small_dataset, truth, tmp_path):
    builder = CytoImageNet(data_dir=small_dataset, config_name="organism", cache_dir=str(tmp_path))
    assert isinstance(builder, datasets.GeneratorBasedBuilder)
    builder.download_and_prepare()
    found = content_of(builder.as_dataset(split="train"))
    assert found == {k: v for k, v in of_split(truth, "train").items() if v[2]["category"] == "organism"}
    streamed = CytoImageNet(data_dir=small_dataset).as_streaming_dataset(split="validation")
    assert content_of(streamed) == of_split(truth, "validation")


def test_caches_follow_the_data_not_the_place(small_dataset, small_curated, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(small_dataset, moved)
    other = tmp_path / "other"
    write_dataset(small_curated, other, seed=1)
    here, there, differing = (CytoImageNet(data_dir=place).cache_dir for place in (small_dataset, moved, other))
    assert here == there != differing


def test_plain_webdataset(small_dataset, truth):
    import webdataset

    shards = f"{small_dataset}/data/train-{{00000..00007}}-of-00008.tar"
    found = {}
    for row in webdataset.WebDataset(shards, shardshuffle=False):
        found[row["__key__"]] = row["png"], int(row["cls"]), json.loads(row["json"])
    wanted = of_split(truth, "train")
    assert sorted(found) == sorted(wanted)
    for key, (png, index, row) in found.items():
        row.pop("label")
        assert (png, index, row) == wanted[key]


def test_pandas_and_single_images(small_dataset, twin, truth, rng):
    for folder in (small_dataset, twin):
        metadata = pd.read_parquet(folder / "metadata.parquet")
        rows = metadata[metadata["label"] == "hela"].sample(frac=1, random_state=0)
        images = cytoimagenet.read_images(rows, folder)
        assert [image.tobytes() for image in images] == [
            Image.open(io.BytesIO(truth[key][0])).tobytes() for key in rows["key"]
        ]
        assert {image.mode for image in images} == {"L"}
    assert cytoimagenet.read_images(metadata.head(0), twin) == []
    with pytest.raises(UsageError, match="no column offset, shard"):
        cytoimagenet.read_images(metadata[["key", "size"]], twin)
    with pytest.raises(CheckFailedError, match="No readable PNG"):
        cytoimagenet.read_images(metadata.head(1).assign(offset=7), twin)
    with pytest.raises(CheckFailedError, match="outside"):
        cytoimagenet.read_images(metadata.head(1).assign(shard="../../etc/passwd"), twin)


TRAP = """
import sys
import datasets
try:
    datasets.load_dataset("cytoimagenet")
except RuntimeError as error:
    assert "Dataset scripts are no longer supported" in str(error), error
else:
    raise SystemExit("the plain name no longer fails here: the README may stop naming it")
import cytoimagenet
print(datasets.load_dataset("cytoimagenet", split="train").num_rows)
"""


def test_one_row_gives_one_image(small_dataset, truth):
    rows = pd.read_parquet(small_dataset / "metadata.parquet")
    for one in (rows.iloc[7], rows.set_index("key").loc[rows["key"][7]], rows.iloc[[7]]):
        [image] = cytoimagenet.read_images(one, small_dataset)
        assert np.array_equal(image, Image.open(io.BytesIO(truth[rows["key"][7]][0])))
    with pytest.raises(UsageError, match="no column offset"):
        cytoimagenet.read_images(rows.iloc[7].drop("offset"), small_dataset)


def test_in_the_parent_of_a_checkout(checkout, small_dataset, tmp_path):
    (tmp_path / "cytoimagenet").symlink_to(checkout)
    locate.remember(small_dataset)
    ran = subprocess.run([sys.executable, "-c", TRAP], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "270"), ran.stderr


def test_with_no_data_the_three_ways_are_named(tmp_path, monkeypatch):
    (tmp_path / "cytoimagenet").mkdir()  # not a dataset folder: it has no manifest
    for load in (lambda: datasets.load_dataset("cytoimagenet"), cytoimagenet.load_dataset, CytoImageNet):
        with pytest.raises(UsageError) as caught:
            load()
        for way in ("cytoimagenet pull", "cytoimagenet import-kaggle", "cytoimagenet build"):
            assert way in str(caught.value)
    monkeypatch.setenv("CYTOIMAGENET_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="CYTOIMAGENET_HOME"):
        locate.find()
    with pytest.raises(UsageError, match=r"no manifest\.json"):
        datasets.load_dataset("cytoimagenet", data_dir=str(tmp_path))


def test_a_cache_that_cannot_be_written_is_no_failure(small_dataset, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    locate.remember(small_dataset)
    assert f"CYTOIMAGENET_HOME={small_dataset}" in capsys.readouterr().err.replace("\n", "")


def test_a_revision_is_one_of_a_pulled_copy_or_of_the_hub(small_dataset, twin):
    locate.remember(twin, "v1")
    locate.remember(small_dataset)
    assert locate.find() == str(small_dataset)
    assert locate.find(revision="v1") == str(twin)
    with pytest.raises(UsageError, match="'v2'"):
        locate.find(revision="v2")
    assert locate.find("hf://datasets/me/cytoimagenet", "v2") == "hf://datasets/me/cytoimagenet@v2"
    with pytest.raises(UsageError, match="Only a copy on the Hub"):
        locate.find(small_dataset, "v2")


@pytest.fixture
def to_be_fetched(monkeypatch, tmp_path):
    """Let `datasets` fetch from storage that is no network, into a cache that is empty."""
    monkeypatch.setattr(datasets.utils.file_utils, "_raise_if_offline_mode_is_enabled", lambda *args: None)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", str(tmp_path / "downloads"))


@pytest.mark.usefixtures("to_be_fetched")
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_another_storage(form, small_curated, truth):
    root = f"memory://ways-in/{form}"
    try:
        manifest = write_dataset(small_curated, root, format=form)
        stream = cytoimagenet.load_dataset(data_dir=root, streaming=True, split="validation")
        assert content_of(stream) == of_split(truth, "validation")
        rows = manifest.metadata().head(3)
        assert [image.size for image in cytoimagenet.read_images(rows, root)] == list(
            zip(rows["width"], rows["height"], strict=True)
        )
        mapped = cytoimagenet.load_dataset(data_dir=root, split="validation")
        assert content_of(mapped) == of_split(truth, "validation")
    finally:
        fsspec.filesystem("memory").store.clear()


@pytest.mark.usefixtures("to_be_fetched")
def test_an_object_store(small_curated, truth, s3):
    """A stand-in for S3 on this machine: written, verified, streamed and read by place over HTTP."""
    manifest = write_dataset(small_curated, "s3://lab/cytoimagenet")
    assert verify(manifest.root).images == 300
    stream = cytoimagenet.load_dataset(data_dir=manifest.root, streaming=True, split="validation")
    assert content_of(stream) == of_split(truth, "validation")
    mapped = cytoimagenet.load_dataset(data_dir=manifest.root, split="validation")
    assert content_of(mapped) == of_split(truth, "validation")
    few = cytoimagenet.load_dataset("organism", data_dir=manifest.root, streaming=True, split="validation")
    assert content_of(few) == {k: v for k, v in of_split(truth, "validation").items() if v[1] == 3}


def test_a_damaged_shard_is_named(small_dataset, tmp_path, monkeypatch):
    broken = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset, broken)
    shard = broken / "data" / "validation-00000-of-00001.tar"
    whole = shard.read_bytes()
    first = sum(512 + -(-size // 512) * 512 for size in sizes_of_first_image(whole))
    for kept, said in ((70_000, "validation-00000"), (first, "it has 1 images instead of 30")):
        shard.write_bytes(whole[:kept])
        stream = cytoimagenet.load_dataset(data_dir=broken, split="validation", streaming=True)
        with pytest.raises(CheckFailedError, match=said):
            list(stream)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / f"cache-{kept}"))
        with pytest.raises(CheckFailedError, match=said):
            cytoimagenet.load_dataset(data_dir=broken, split="validation")


def sizes_of_first_image(shard):
    with tarfile.open(fileobj=io.BytesIO(shard)) as tar:
        return [tar.next().size for _ in range(3)]
