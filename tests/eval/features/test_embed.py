"""Embeddings of a dataset folder: right, resumable, recorded, and refused where they belong to something else."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cytoimagenet.builder.dataset import embeddings as files
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.read_images import read_images
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.builder.shards.verify import inspect
from cytoimagenet.eval.features import embed as module
from cytoimagenet.eval.features.backbones import backbone
from cytoimagenet.eval.features.embed import embed, file_name
from cytoimagenet.loaders.transforms import to_square

SIDE = 16


@pytest.fixture
def folder(small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "cytoimagenet")
    return tmp_path / "cytoimagenet"


@pytest.fixture
def network():
    """Returns 4 x 4 means of each of the three equal channels."""
    return backbone(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten()), "tiny/net")


def test_one_vector_per_image_in_the_order_of_the_metadata(folder, network):
    before = Manifest.load(folder)
    manifest = embed(folder, network, size=SIDE, engine="torch", workers=2)
    assert manifest.digest == before.digest
    table, rows = pq.read_table(folder / "embeddings" / "tiny-net.parquet"), before.metadata()
    assert table["key"].to_pylist() == rows["key"].tolist()
    assert table["sha256"].to_pylist() == rows["sha256"].tolist()
    views = [to_square(np.asarray(image), SIDE) for image in read_images(rows, folder)]
    means = [view.reshape(4, SIDE // 4, 4, SIDE // 4).mean(axis=(1, 3)).ravel() / 255 for view in views]
    expected = np.tile(np.array(means), 3)
    assert np.allclose(np.stack(table["vector"].to_numpy()), expected, atol=1e-3)
    assert inspect(folder).problems == []
    assert not (folder / ".unfinished").exists()


def test_reading_in_blocks_and_some_rows(folder, network, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 128)
    embed(folder, network, size=SIDE, engine="torch", workers=1)
    found = files.open_embeddings(Manifest.load(folder))
    everything = found.load()
    assert found.shape == everything.shape == (300, 48)
    assert [(start, len(block)) for start, block in found.blocks()] == [(0, 128), (128, 128), (256, 44)]
    chosen = np.array([299, 0, 127, 128, 5])
    assert np.array_equal(found.take(chosen), everything[chosen])
    assert found.keys().to_pylist() == Manifest.load(folder).metadata(["key"])["key"].tolist()


def test_an_interrupted_run_resumes_without_computing_a_chunk_again(folder, network, monkeypatch):
    monkeypatch.setattr(files, "ROW_GROUP", 64)
    computed = []
    original = module.runner

    def counting(*args, **options):
        run = original(*args, **options)

        def counted(batch):
            computed.append(len(batch))
            if len(computed) == 3:
                raise KeyboardInterrupt
            return run(batch)

        return counted

    monkeypatch.setattr(module, "runner", counting)
    with pytest.raises(KeyboardInterrupt):
        embed(folder, network, size=SIDE, engine="torch", workers=1)
    assert "embeddings" not in json.dumps(sorted(Manifest.load(folder).derived))
    report = inspect(folder)
    assert report.problems == []
    assert any(".unfinished" in note for note in report.notes)
    embed(folder, network, size=SIDE, engine="torch", workers=1)
    assert sum(computed) - 64 == 300  # the third batch was lost, and computed again
    resumed = (folder / "embeddings" / "tiny-net.parquet").read_bytes()
    embed(folder, network, size=SIDE, engine="torch", workers=1)  # nothing is left to do
    assert sum(computed) - 64 == 300
    shutil.rmtree(folder / "embeddings")
    embed(folder, network, size=SIDE, engine="torch", workers=3)
    assert (folder / "embeddings" / "tiny-net.parquet").read_bytes() == resumed


def test_other_settings_need_another_name(folder, network):
    embed(folder, network, size=SIDE, engine="torch", workers=1)
    with pytest.raises(UsageError, match="another input_size"):
        embed(folder, network, size=2 * SIDE, engine="torch", workers=1)
    manifest = embed(folder, network, size=2 * SIDE, engine="torch", workers=1, name="larger")
    assert files.names(manifest) == ["larger", "tiny-net"]
    with pytest.raises(UsageError, match="several models: larger, tiny-net"):
        files.open_embeddings(manifest)
    assert files.open_embeddings(manifest, "larger").settings["input_size"] == 2 * SIDE
    with pytest.raises(UsageError, match="no embeddings of 'other'"):
        files.open_embeddings(manifest, "other")
    assert "`embeddings/larger.parquet`" in (folder / "README.md").read_text()


def test_embeddings_of_other_images_are_refused(folder, small_dataset, network):
    manifest = embed(folder, network, size=SIDE, engine="torch", workers=1)
    other = Manifest(manifest.root, {**manifest.data, "digest": "0" * 64})
    with pytest.raises(CheckFailedError, match="belong to other images"):
        files.open_embeddings(other)
    with pytest.raises(UsageError, match="no embeddings"):
        files.open_embeddings(Manifest.load(small_dataset))


def test_features_that_do_not_fit_are_an_error(folder):
    large = backbone(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE**2, 2)), "large")
    torch.nn.init.constant_(large.module[1].weight, 1e6)
    with pytest.raises(UsageError, match="do not fit into 16-bit floats"):
        embed(folder, large, size=SIDE, engine="torch", workers=1)
    assert Manifest.load(folder).derived == {}


@pytest.mark.parametrize("model", ["random:3", "runs/first", "a/../b", "...", "ü" * 200])
def test_a_name_is_always_one_file_of_the_folder(model):
    from cytoimagenet.builder.dataset.names import may_have

    assert may_have("derived", files.path_of(file_name(model)), "webdataset")
