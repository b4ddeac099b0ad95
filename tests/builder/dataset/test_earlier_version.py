"""A folder of schema 1 is read like one of schema 2; what it lacks is empty. The images of both are the same."""

import hashlib
import json
import tarfile

import cytoimagenet
import pytest
from cytoimagenet.builder import commands, schema
from cytoimagenet.builder.console import application
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.pages.write import write_pages
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from typer.testing import CliRunner

from tests.builder.dataset.earlier_version import EARLIER, earlier_version

PIXELS = "3070ecf2d381b0c13f64a53307e7ad8af387dd52c358ddc8057bb90de0fbc90d"
"""SHA-256 of all images' `sha256` in the order of their keys, as the last version with schema 1 wrote them."""
ROWS = "8b77ab50cc7f74a34fb0a403b00563dd1fffffd9d803b45b18414c0c56ee0be7"
"""SHA-256 of the rows of schema 2 as JSON, in the order of their keys."""


@pytest.fixture(scope="module", params=["webdataset", "parquet"])
def folders(request, tmp_path_factory):
    """The same images as folders of schema 1 and 2."""
    where = tmp_path_factory.mktemp(request.param)
    with earlier_version():
        curated = write_curated(where / "earlier", classes=5, images=8)
        write_dataset(curated, where / "one" / "cytoimagenet", format=request.param)
    curated = write_curated(where / "curated", classes=5, images=8)
    write_dataset(curated, where / "two" / "cytoimagenet", format=request.param)
    return where / "one" / "cytoimagenet", where / "two" / "cytoimagenet"


def run(*words):
    app = application("0")
    commands.add_to(app)
    return CliRunner().invoke(app, [*map(str, words)])


def test_the_images_did_not_change(folders):
    one, two = (Manifest.load(folder) for folder in folders)
    assert (one.schema_version, two.schema_version) == (EARLIER, "2.0.0")
    assert one.digest != two.digest
    rows = [manifest.metadata(["key", "sha256"]).sort_values("key", ignore_index=True) for manifest in (one, two)]
    assert rows[0].equals(rows[1])
    assert hashlib.sha256("".join(rows[1]["sha256"]).encode()).hexdigest() == PIXELS


def test_the_content_of_the_rows_is_fixed(folders):
    rows = Manifest.load(folders[1]).metadata(["key", *schema.ROW.names])
    rows = rows.sort_values("key", ignore_index=True)
    text = json.dumps([[None if cell != cell else cell for cell in row] for row in rows.to_numpy().tolist()])
    assert hashlib.sha256(text.encode()).hexdigest() == ROWS


def test_both_are_sound_and_the_version_is_named(folders):
    for folder, version in zip(folders, (EARLIER, "2.0.0"), strict=True):
        checked = run("verify", folder)
        assert checked.exit_code == 0, checked.output
        assert f"Schema version {version}." in checked.output
        assert json.loads(run("verify", folder, "--json").output)["schema_version"] == version
        assert f"schema {version}" in run("info", folder).output


def test_a_folder_of_an_earlier_version_is_loaded_with_all_columns(folders):
    one, two = (cytoimagenet.load_dataset(folder, split="train") for folder in folders)
    assert one.features == two.features
    assert one.column_names == two.column_names
    for earlier, later in zip(one, two, strict=True):
        assert earlier["image"].tobytes() == later["image"].tobytes()
        for name in one.column_names:
            if name in schema.ADDED:
                assert earlier[name] == schema.empty(name)
            elif name != "image":
                assert earlier[name] == later[name]
    assert {row["magnification"] for row in two.remove_columns("image")} == {20.0, None}
    label = Manifest.load(folders[0]).class_names[0]
    for folder in folders:  # so few images that each is read by its place
        [row, *_] = cytoimagenet.load_dataset(folder, split="train", labels=[label], streaming=True)
        assert row["plate"].startswith("plate ") == (folder == folders[1])


def test_the_card_of_an_earlier_folder_can_be_written_again(folders, tmp_path):
    manifest = Manifest.load(folders[0])
    before = {name: (folders[0] / name).read_bytes() for name in ("README.md", "croissant.json")}
    write_pages(manifest)
    assert {name: (folders[0] / name).read_bytes() for name in before} == before


def test_the_loaders_read_both(folders):
    if "parquet" in str(folders[0]):
        pytest.skip("the loaders read tar shards")
    by_index = [
        [(row["images"].numpy().tobytes(), row["labels"]) for row in cytoimagenet.MapDataset(folder, size=24)]
        for folder in folders
    ]
    streamed = [
        [(batch["images"].numpy().tobytes(), batch["labels"].tolist()) for batch in batches]
        for batches in (cytoimagenet.stream(folder, batch_size=4, size=24) for folder in folders)
    ]
    for one, two in (by_index, streamed):
        assert one == two and len(one)
    with tarfile.open(next((folders[0] / "data").glob("train-*.tar"))) as tar:
        names = next(json.load(tar.extractfile(member)) for member in tar if member.name.endswith(".json"))
    assert not set(names) & set(schema.ADDED)
