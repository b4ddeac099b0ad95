"""The dataset folder: nothing lost, well mixed, and where the tables say it is."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
from cytoimagenet.builder import schema
from cytoimagenet.builder.manifest import Manifest
from PIL import Image


def test_every_image_is_in_one_shard_with_its_bytes_row_and_class(small_curated, small_dataset):
    manifest = Manifest.load(small_dataset)
    curated = schema.read(small_curated / "rows.parquet", schema.CURATED).set_index("filename")
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


def test_metadata_says_where_the_bytes_lie(small_dataset):
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
