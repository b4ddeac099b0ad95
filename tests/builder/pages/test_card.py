"""The dataset card has the numbers of the manifest, and hostile labels stay text."""

import doctest
import re

import pandas as pd
import pytest
from cytoimagenet.builder.dataset import manifest
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages import card, licences, markdown
from huggingface_hub import DatasetCard


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


HUB_KEYS = {
    # all keys of a dataset card: https://github.com/huggingface/hub-docs/blob/main/datasetcard.md, read in 2026
    *("language", "license", "license_name", "license_link", "license_details", "tags", "annotations_creators"),
    *("language_creators", "language_details", "pretty_name", "size_categories", "source_datasets", "task_categories"),
    *("task_ids", "paperswithcode_id", "configs", "dataset_info", "extra_gated_fields", "extra_gated_prompt"),
    "train-eval-index",
}
OURS = {
    *("pretty_name", "license", "license_name", "license_link", "annotations_creators", "source_datasets", "tags"),
    *("task_categories", "task_ids", "size_categories", "configs", "dataset_info"),
}
CREATORS = {"found", "crowdsourced", "expert-generated", "machine-generated", "no-annotation", "other"}


def test_the_keys_are_those_that_the_hub_documents(small_dataset):
    written = DatasetCard.load(small_dataset / "README.md").data.to_dict()
    assert set(written) == OURS <= HUB_KEYS
    assert (written["license"], written["license_name"]) == ("other", "mixed-see-each-image")
    assert written["license_link"] in Manifest.load(small_dataset).pages, "the Hub links a file of the repository"
    assert set(written["annotations_creators"]) <= CREATORS
    assert written["source_datasets"] == ["extended|other-made_up"]
    assert written["task_ids"] == ["multi-class-image-classification"]
    assert {"datasets", "webdataset", "mlcroissant"} < set(written["tags"])


def test_the_hub_finds_the_paper(small_dataset):
    """It makes the tag `arxiv:2111.11646` of a link to arXiv in the text."""
    text = DatasetCard.load(small_dataset / "README.md").text
    assert "https://arxiv.org/abs/2111.11646" in text
    assert "doi    = {10.48550/arXiv.2111.11646}" in text


def test_every_licence_is_listed_with_its_images(small_dataset):
    written = Manifest.load(small_dataset)
    assert numbers_under((small_dataset / "LICENSE.md").read_text(), "licence") == [["CC0-1.0", "300", "made\\_up"]]
    rows = written.metadata()
    rows.loc[:9, ["licence", "dir_name"]] = ["by | <b>", "bbbc010"]
    rows.loc[10:14, "licence"] = ""

    class Other(Manifest):
        def metadata(self, columns=None):
            return rows[columns]

    own = {"made_up": {"name": "Our plate", "link": "https://lab.example/1"}}
    table = numbers_under(licences.describe(Other(written.root, {**written.data, "own_sources": own})), "licence")
    assert table[0][2] == "[Our plate](https://lab.example/1)"
    assert [row[:2] for row in table] == [["CC0-1.0", "285"], ["by \\| &lt;b&gt;", "10"], ["none named", "5"]]
    assert "https://bbbc.broadinstitute.org/BBBC010" in table[1][2]


def test_the_examples_run():
    assert doctest.testmod(card).failed == doctest.testmod(markdown).failed == 0


def test_every_number_of_the_card_is_that_of_the_manifest(small_dataset):
    written = Manifest.load(small_dataset)
    text = (small_dataset / "README.md").read_text()
    splits = {row[0]: [int(n.replace(",", "")) for n in row[1:]] for row in numbers_under(text, "split")}
    assert splits == {name: [entry[k] for k in ("rows", "shards", "bytes")] for name, entry in written.splits.items()}
    classes = [[row[1], row[2], int(row[3]), int(row[4])] for row in numbers_under(text, "index")]
    assert classes == [[markdown.cell(c["label"]), c["category"], c["train"], c["validation"]] for c in written.classes]
    metadata = pd.read_parquet(small_dataset / "metadata.parquet")
    categories = {row[0]: int(row[2]) for row in numbers_under(text, "category")}
    assert categories == metadata["category"].value_counts().to_dict()
    assert written.digest in text
    assert len(numbers_under(text.split("<summary>40 sources")[1], "source")) == 40
    assert text.index("The labels are weak") < text.index("## Uses")


def test_a_card_is_rewritten_from_the_manifest(small_dataset, tmp_path):
    import shutil

    folder = tmp_path / "cytoimagenet"
    shutil.copytree(small_dataset, folder)
    before = (folder / "README.md").read_bytes()
    (folder / "README.md").write_text("# written over")
    card.write_card(folder, Manifest.load(folder))
    assert (folder / "README.md").read_bytes() == before


def test_hostile_labels_stay_text(small_dataset):
    written = Manifest.load(small_dataset)
    hostile = "<script>alert(1)</script> | ![x](javascript:1)\n# heading"
    classes = [{**written.classes[0], "label": hostile}, *written.classes[1:]]
    text = card.body(Manifest(written.root, {**written.data, "classes": classes}))
    assert "<script>" not in text
    assert "\n# heading" not in text
    assert "![x](" not in text
    row = numbers_under(text, "index")[0]
    assert row[1].startswith("&lt;script&gt;")
    assert len(row) == 5


@pytest.mark.parametrize(
    ("settings", "parts", "absent"),
    [
        (
            {"split": "by-image"},
            ["all crops of one source image are in the same split", "thumbnails"],
            ["sampled again", "too high"],
        ),
        ({"split": "by-plate"}, ["all images\n   of one plate where it is known. Split by plate."], ["too high"]),
        ({"split": "published"}, ["in both splits", "thumbnails"], ["all crops of one source image"]),
        ({"split": "by-image", "imported": "x"}, ["sampled again", "bytes are unchanged"], ["thumbnails", "quadrant"]),
    ],
)
def test_the_card_describes_how_this_folder_was_made(settings, parts, absent, small_dataset):
    written = Manifest.load(small_dataset)
    text = card.body(Manifest(written.root, {**written.data, "settings": settings}))
    made = text[text.index("## How it was made") : text.index("## Known limits")]
    assert [line[0] for line in made.splitlines() if line[:1].isdigit()] == list("123456")
    assert all(part in made for part in parts)
    assert not any(part in made for part in absent)


@pytest.mark.parametrize("images", [1, 999, 1000, 890_737])
def test_size_categories(images):
    assert card.size_category(images) == {1: "n<1K", 999: "n<1K", 1000: "1K<n<10K", 890_737: "100K<n<1M"}[images]


def test_pages_do_not_change_the_digest(small_dataset):
    written = Manifest.load(small_dataset)
    assert manifest.digest({**written.data, "pages": {}}) == written.digest
