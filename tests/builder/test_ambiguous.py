"""Classes that may be wrong are found, counted and shown wherever a dataset is shown."""

from __future__ import annotations

import shutil

import pandas as pd
import pyarrow as pa
import pytest
from cytoimagenet.builder import ambiguous, schema
from cytoimagenet.builder.commands import dataset
from cytoimagenet.builder.console import application
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.shards.write import write_dataset
from typer.testing import CliRunner

SENTENCE = "The class 'human' may be wrong: 20 of its 60 images have the organism human|mouse in their source."


def test_only_images_with_several_values_in_the_column_of_the_class_count():
    rows = pd.DataFrame(
        [
            ("fly", "organism", "human|fly", ""),
            ("fly", "organism", "fly", "a|b"),  # the cell type is not what the class was taken from
            ("fly", "organism", "fly|mouse", ""),
            ("hela", "cell_type", "human|mouse", "hela"),
            ("taxol", "compound", "human|mouse", "a|b"),
            ("a549", "cell_type", "human", "a549|a549"),
        ],
        columns=ambiguous.COLUMNS,
    )
    expected = [ambiguous.AmbiguousClass("fly", "organism", 2, 3, ("fly|mouse", "human|fly"))]
    assert ambiguous.ambiguous_classes(rows) == expected
    assert ambiguous.ambiguous_classes(pa.Table.from_pandas(rows)) == expected
    assert ambiguous.ambiguous_classes(rows.iloc[:0].astype("str")) == []


@pytest.fixture(scope="module")
def doubtful(small_curated, tmp_path_factory):
    """A dataset with a class `human`, of which a third of the images have `human|mouse` as their organism."""
    folder = tmp_path_factory.mktemp("doubtful")
    shutil.copytree(small_curated, folder / "curated")
    rows = schema.read(folder / "curated" / "rows.parquet", schema.CURATED)
    mine = rows.index[rows["label"] == "human"]
    assert len(mine) == 60
    rows.loc[mine[:20], "organism"] = "human|mouse"
    schema.write(rows, folder / "curated" / "rows.parquet", schema.CURATED)
    write_dataset(folder / "curated", folder / "cytoimagenet")
    return folder / "cytoimagenet"


def run(*words):
    app = application("0")
    dataset.add_to(app)
    return CliRunner().invoke(app, [str(word) for word in words])


def test_info_card_and_page_name_the_class(doubtful, small_dataset, tmp_path):
    for folder, expected in ((doubtful, True), (small_dataset, False)):
        shown = run("info", folder)
        assert shown.exit_code == 0
        assert (SENTENCE in " ".join(shown.output.split())) == expected
        card = (folder / "README.md").read_text()
        assert (f"- {SENTENCE}".replace("|", "\\|") in card) == expected
        assert run("browse", folder, "--out", tmp_path / "site", "--images", 1).exit_code == 0
        page = (tmp_path / "site" / "index.html").read_text()
        assert page.count('<p class="doubt">This class may be wrong: 20 of its 60 images have the') == int(expected)
        before, _, after = page.partition('class="doubt"')
        assert not expected or ("<h2>human</h2>" in before and "<h2>human</h2>" not in after)


def test_nothing_is_read_for_a_folder_whose_rule_leaves_no_doubt(doubtful, monkeypatch):
    plain = Manifest.load(doubtful)
    unambiguous = Manifest(plain.root, {**plain.data, "settings": {**plain.settings, "labels": "unambiguous"}})
    monkeypatch.setattr(Manifest, "load", lambda _: unambiguous)
    monkeypatch.setattr(Manifest, "metadata", lambda *_: pytest.fail("read the metadata"))
    assert "may be wrong" not in run("info", doubtful).output
