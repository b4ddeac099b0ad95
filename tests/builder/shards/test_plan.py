"""The plan of the shards, with rows and numbers made by hand."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import SchemaError, UsageError
from cytoimagenet.builder.shards.plan import count_classes, plan_shards


def rows_of(*images):
    """Rows of (label, category, split), named image-0.png, image-1.png, ..., of 100 bytes each; no two are equal."""
    frame = pd.DataFrame(images, columns=["label", "category", "split"])
    number = [str(i) for i in range(len(frame))]
    return frame.assign(
        filename=[f"image-{n}.png" for n in number], store_size=100, sha256=[f"pixels {n}" for n in number]
    )


def images_of(plan, name):
    """The row numbers of a shard, in its order."""
    at = np.flatnonzero(plan.shard == plan.names.index(name))
    return plan.row[at[np.argsort(plan.position[at])]].tolist()


SIX = rows_of(
    ("b", "gene", "train"), ("a", "organism", "train"), ("b", "gene", "validation"),
    ("b", "gene", "train"), ("a", "organism", "train"), ("b", "gene", "train"),
)  # fmt: skip


def test_classes_are_counted_per_split_and_sorted_by_label():
    assert count_classes(SIX).to_dict("records") == [
        {"index": 0, "label": "a", "category": "organism", "train": 2, "validation": 0},
        {"index": 1, "label": "b", "category": "gene", "train": 3, "validation": 1},
    ]


def test_a_split_is_cut_into_shards_of_equal_numbers_of_images_in_the_order_of_a_hash():
    plan = plan_shards(SIX, shard_size=200, seed=7, suffix="tar")
    assert plan.names == [
        "data/train-00000-of-00003.tar", "data/train-00001-of-00003.tar", "data/train-00002-of-00003.tar",
        "data/validation-00000-of-00001.tar", "data/sample-00000-of-00001.tar",
    ]  # fmt: skip
    assert plan.split_of == ["train", "train", "train", "validation", "sample"]
    assert plan.keys == [f"image-{i}" for i in range(6)]
    by_hash = sorted(range(6), key=lambda i: hashlib.blake2b(f"7\0pixels {i}".encode(), digest_size=16).digest())
    train = [row for row in by_hash if row != 2]
    assert images_of(plan, plan.names[0]) == train[:1]
    assert images_of(plan, plan.names[1]) == train[1:3]
    assert images_of(plan, plan.names[2]) == train[3:]
    assert images_of(plan, plan.names[3]) == [2]
    assert images_of(plan, plan.names[4]) == train
    assert plan.row.tolist() == sorted(plan.row.tolist())


def test_the_sample_has_the_first_ten_training_images_of_each_class():
    rows = rows_of(*[("a", "gene", "train")] * 25, *[("b", "gene", "train")] * 3, *[("a", "gene", "validation")] * 4)
    plan = plan_shards(rows, shard_size=10**9, seed=0, suffix="parquet")
    train = images_of(plan, "data/train-00000-of-00001.parquet")
    sample = images_of(plan, "data/sample-00000-of-00001.parquet")
    assert sorted(sample) == sorted([*[row for row in train if row < 25][:10], 25, 26, 27])
    assert [row for row in train if row in sample] == sample


def test_the_order_depends_on_seed_and_pixels_only():
    names = [[plan.keys[row] for row in images_of(plan, "data/train-00000-of-00001.tar")] for plan in (
        plan_shards(rows, shard_size=10**9, seed=seed, suffix="tar")
        for rows, seed in ((SIX, 1), (SIX.iloc[::-1].reset_index(drop=True), 1), (SIX, 2))
    )]  # fmt: skip
    assert names[0] == names[1] != names[2]


def test_other_names_do_not_change_the_order():
    """As when a class has an image less, and numbers the others anew."""
    train = "data/train-00000-of-00001.tar"
    before = images_of(plan_shards(SIX, shard_size=10**9, seed=0, suffix="tar"), train)
    renamed = SIX.assign(filename=[f"other-{9 - i}.png" for i in range(6)])
    assert images_of(plan_shards(renamed, shard_size=10**9, seed=0, suffix="tar"), train) == before
    kept = SIX.drop(index=before[1]).reset_index(names="row")
    after = images_of(plan_shards(kept, shard_size=10**9, seed=0, suffix="tar"), train)
    assert kept["row"].iloc[after].tolist() == [before[0], *before[2:]]


def test_images_with_equal_pixels_are_ordered_by_their_names():
    same = SIX.assign(sha256=["", "", "x", "y", "y", "y"])
    plans = [
        plan_shards(rows, shard_size=10**9, seed=0, suffix="tar") for rows in (same, same.iloc[::-1].reset_index())
    ]
    first, second = ([plan.keys[row] for row in images_of(plan, "data/train-00000-of-00001.tar")] for plan in plans)
    assert first == second and len(set(first)) == 5


def test_rows_that_can_not_be_planned():
    for rows, error, problem in (
        (SIX.head(0), UsageError, "no images"),
        (SIX.assign(split="test"), SchemaError, "Unknown split 'test'; there are train, validation"),
        (SIX.assign(category=["gene", "organism"] * 3), SchemaError, "Class 'a' has two categories|Class 'b' has two"),
    ):
        with pytest.raises(error, match=problem):
            plan_shards(rows, shard_size=1, seed=0, suffix="tar")
