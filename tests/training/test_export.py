"""ONNX files compute what torch computes, from grey bytes, for any number of images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
import typer
from cytoimagenet.builder.errors import CheckFailedError, UsageError
from cytoimagenet.training import commands
from cytoimagenet.training import export as module
from cytoimagenet.training.export import export
from cytoimagenet.training.model import load_backbone, load_classifier
from cytoimagenet.training.normalisation import write_normalisation
from typer.testing import CliRunner

NORMALISATION = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def run_onnx(path, images):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [given], [returned] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type) == ("images", "tensor(uint8)")
    return returned.name, session.run(None, {"images": images})[0], session.get_modelmeta().custom_metadata_map


@pytest.fixture(scope="module")
def folder(small_model, tmp_path_factory):
    """A model with a normalisation and the names of its classes."""
    folder = tmp_path_factory.mktemp("model") / "run"
    load_classifier(small_model).save_pretrained(folder)
    write_normalisation(folder, *NORMALISATION, size=32)
    return folder


@pytest.fixture(scope="module")
def grey():
    return np.random.default_rng(0).integers(0, 256, (5, 1, 32, 32), dtype=np.uint8)


def test_features(folder, grey, tmp_path):
    written = export(folder, tmp_path / "f.onnx")
    assert (written.size, written.columns) == (32, 320) and written.difference < 1e-4
    with torch.no_grad():
        rgb = torch.from_numpy(grey).float().div(255).expand(-1, 3, -1, -1)
        expected = load_backbone(folder)(rgb).numpy()
    for some in (slice(0, 1), slice(0, 5)):
        name, found, facts = run_onnx(written.path, grey[some])
        assert name == "features" and "classes" not in facts
        np.testing.assert_allclose(found, expected[some], rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    assert [path.name for path in tmp_path.iterdir()] == ["f.onnx"]


def test_scores_by_the_command(folder, grey, tmp_path):
    app = typer.Typer()
    commands.add_to(app)
    path = tmp_path / "scores.onnx"
    result = CliRunner().invoke(app, ["export", str(folder), "--out", str(path), "--output", "scores", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout[result.stdout.index("{") :])["columns"] == 2
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALISATION)
    with torch.no_grad():
        pixels = torch.from_numpy(grey).float().div(255).expand(-1, 3, -1, -1)
        expected = load_classifier(folder)(pixel_values=(pixels - mean) / std).logits.numpy()
    name, found, facts = run_onnx(path, grey)
    assert name == "scores" and facts["classes"] == "one\ntwo"
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_a_network_of_one_channel(grey, tmp_path):
    config = transformers.ResNetConfig(
        num_channels=1, embedding_size=4, hidden_sizes=[6], depths=[1], layer_type="basic", num_labels=3
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "model")
    with pytest.raises(UsageError, match=r"size of the images is not in preprocessor_config.json") as caught:
        export(tmp_path / "model", tmp_path / "grey.onnx")
    assert caught.value.next == "Give it: --size PIXELS"
    written = export(tmp_path / "model", tmp_path / "grey.onnx", size=32)
    with torch.no_grad():
        rgb = torch.from_numpy(grey).float().div(255).expand(-1, 3, -1, -1)
        expected = load_backbone(tmp_path / "model")(rgb).numpy()
    np.testing.assert_allclose(run_onnx(written.path, grey)[1], expected, rtol=1e-3, atol=1e-5)


def test_a_file_that_computes_something_else_is_not_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_write", lambda network, images, path, output: path.write_bytes(b"x"))
    monkeypatch.setattr(module, "_describe", lambda *_: None)
    monkeypatch.setattr(module, "_compare", lambda *_: (3, 0.5))
    with pytest.raises(CheckFailedError, match=r"differ from those of torch by 5\.0e-01"):
        export(folder, tmp_path / "f.onnx")
    assert not list(tmp_path.iterdir())


def test_bad_input(folder, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no such folder"):
        export(folder, tmp_path / "nowhere" / "f.onnx")
    with pytest.raises(UsageError, match="no such model folder"):
        export(tmp_path / "nope", tmp_path / "f.onnx")
    monkeypatch.setattr("cytoimagenet.builder.extras.find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(UsageError, match=r"pip install 'cytoimagenet\[onnx\]'.*onnxscript"):
        export(folder, tmp_path / "f.onnx")
