"""The dataset card says what the manifest says, and hostile labels stay text."""

import doctest
import re

import pandas as pd
import pytest
from cytoimagenet.builder.dataset import manifest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages import card


def numbers_under(text, head):
    """Return the rows of the Markdown table whose header starts with `head`, as lists of cells."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} |"))
    table = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([one.strip() for one in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def test_the_example_runs():
    assert doctest.testmod(card).failed == 0


def test_card_and_manifest_agree(small_dataset):
    """Fails when a number of the card is not the manifest's."""
    told = Manifest.load(small_dataset)
    text = (small_dataset / "README.md").read_text()
    splits = {row[0]: [int(n.replace(",", "")) for n in row[1:]] for row in numbers_under(text, "split")}
    assert splits == {name: [entry[k] for k in ("rows", "shards", "bytes")] for name, entry in told.splits.items()}
    classes = [[row[1], row[2], int(row[3]), int(row[4])] for row in numbers_under(text, "index")]
    assert classes == [[card.cell(c["label"]), c["category"], c["train"], c["validation"]] for c in told.classes]
    metadata = pd.read_parquet(small_dataset / "metadata.parquet")
    categories = {row[0]: int(row[2]) for row in numbers_under(text, "category")}
    assert categories == metadata["category"].value_counts().to_dict()
    assert told.digest in text
    assert len(numbers_under(text.split("<summary>40 sources")[1], "source")) == 40
    labels_said = text.index("The labels are weak")
    assert labels_said < text.index("## Uses")


def test_a_card_is_made_anew_from_the_manifest(small_dataset, tmp_path):
    import shutil

    folder = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset, folder)
    before = (folder / "README.md").read_bytes()
    (folder / "README.md").write_text("# written over")
    card.write_card(folder, Manifest.load(folder))
    assert (folder / "README.md").read_bytes() == before


def test_hostile_labels_stay_text(small_dataset):
    told = Manifest.load(small_dataset)
    hostile = "<script>alert(1)</script> | ![x](javascript:1)\n# heading"
    classes = [{**told.classes[0], "label": hostile}, *told.classes[1:]]
    text = card.body(Manifest(told.root, {**told.data, "classes": classes}))
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "![x](" not in text
    row = numbers_under(text, "index")[0]
    assert row[1].startswith("&lt;script&gt;")
    assert len(row) == 5


@pytest.mark.parametrize(
    ("settings", "said", "not_said"),
    [
        ({"split": "by-image"}, ["all crops of one image are on one side", "thumbnails"], ["drawn anew", "too high"]),
        ({"split": "published"}, ["on both sides", "thumbnails"], ["all crops of one image"]),
        ({"split": "by-image", "imported": "x"}, ["drawn anew", "bytes are unchanged"], ["thumbnails", "quadrant"]),
    ],
)
def test_the_card_says_how_this_very_folder_was_made(settings, said, not_said, small_dataset):
    told = Manifest.load(small_dataset)
    text = card.body(Manifest(told.root, {**told.data, "settings": settings}))
    made = text[text.index("## How it was made") : text.index("## Known limits")]
    assert [line[0] for line in made.splitlines() if line[:1].isdigit()] == list("123456")
    assert all(part in made for part in said)
    assert not any(part in made for part in not_said)


@pytest.mark.parametrize("images", [1, 999, 1000, 890_737])
def test_size_categories(images):
    assert card.size_category(images) == {1: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 890_737: "100K<n<1M"}[images]


def test_pages_do_not_change_the_digest(small_dataset):
    told = Manifest.load(small_dataset)
    assert manifest.digest({**told.data, "pages": {}}) == told.digest
