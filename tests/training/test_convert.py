"""Converted weights give the features of Keras; other files are refused with a reason."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import torch
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training import convert as convert_module
from cytoimagenet.training.convert import WeightsError, convert
from cytoimagenet.training.model import load_backbone
from cytoimagenet.training.normalisation import read_normalisation

keras = pytest.importorskip("keras", reason="the proof needs Keras, which the development extra installs")
SIZE = 64


def keras_b0(seed, include_top=False):
    """Build the network in Keras with weights and BatchNorm statistics that give features of order 1."""
    model = keras.applications.EfficientNetB0(
        include_top=include_top,
        weights=None,
        pooling=None if include_top else "avg",
        input_shape=(SIZE, SIZE, 3),
        classes=4,
    )
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        if not values:
            continue
        if layer.name.endswith("bn"):
            gamma, beta = rng.uniform(0.7, 1.3, values[0].shape), rng.normal(0, 0.3, values[1].shape)
            layer.set_weights([gamma, beta, *values[2:]])
            layer.momentum = 0.0  # statistics become those of the next batch seen in training
        elif layer.name.startswith("normalization"):
            layer.set_weights([np.array([0.4, 0.5, 0.3]), np.array([0.05, 0.09, 0.04]), values[2]])
            layer.finalize_state()
        else:
            layer.set_weights([v if v.ndim > 1 else rng.normal(0, 0.1, v.shape) for v in values])
    model(rng.integers(0, 256, (8, SIZE, SIZE, 3)).astype(np.float32), training=True)
    return model


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(0)
    keras.utils.set_random_seed(0)
    return keras_b0(0)


def save_older(model, path, inside=None):
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file.create_group(inside) if inside else file, model)
    return path


def as_keras_2(path):
    """Rename as Keras 2 did: `:0` after each weight, bytes for text, `depthwise_kernel`."""
    with h5py.File(path, "a") as file:
        for layer in file.attrs["layer_names"]:
            group = file[layer]
            renamed = []
            for name in group.attrs["weight_names"]:
                new = name.replace("dwconv/kernel", "dwconv/depthwise_kernel") + ":0"
                group.move(name, new)
                renamed.append(new.encode())
            group.attrs["weight_names"] = renamed
        file.attrs["layer_names"] = [layer.encode() for layer in file.attrs["layer_names"]]
    return path


def check(model, folder):
    pixels = np.random.default_rng(1).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(pixels, training=False))
    with torch.no_grad():
        ours = load_backbone(folder)(torch.from_numpy(pixels.transpose(0, 3, 1, 2)) / 255).numpy()
    assert np.abs(expected).mean() > 0.05, "features near 0 would prove nothing"
    assert ours.shape == (3, 1280)
    assert np.abs(ours - expected).max() <= 1e-4 * np.abs(expected).max()
    assert np.linalg.norm(ours - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("form", ["older", "keras 2", "saved model", "newer"])
def test_features_are_those_of_keras(published, tmp_path, form):
    path = tmp_path / ("weights.weights.h5" if form == "newer" else "weights.h5")
    if form == "newer":
        published.save_weights(path)
    else:
        save_older(published, path, "model_weights" if form == "saved model" else None)
        if form == "keras 2":
            as_keras_2(path)
    check(published, convert(path, tmp_path / "model"))


def test_imagenet_normalisation_is_divided_by_twice(published, tmp_path):
    """Keras' ImageNet network divides once more after the layer whose values are in the file."""
    path = save_older(published, tmp_path / "weights.h5")
    with h5py.File(path, "a") as file:
        file["normalization/normalization/mean"][...] = [0.485, 0.456, 0.406]
        file["normalization/normalization/variance"][...] = [0.229, 0.224, 0.225]
    mean, std = read_normalisation(convert(path, tmp_path / "model"))
    assert mean == pytest.approx([0.485, 0.456, 0.406])
    assert std == pytest.approx([0.229, 0.224, 0.225])


def test_network_with_a_head_is_read_without_it(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras_b0(1, include_top=True)
    path = save_older(model, tmp_path / "weights.h5")
    convert(path, tmp_path / "model")
    pooled = keras.Model(model.input, model.get_layer("avg_pool").output)
    check(pooled, tmp_path / "model")
    assert json.loads((tmp_path / "model" / "config.json").read_text())["id2label"] == {}


def test_other_files_are_refused(published, tmp_path):
    path = save_older(published, tmp_path / "good.h5")

    def refused(message, change):
        copy = tmp_path / "bad.h5"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "a") as file:
            change(file)
        with pytest.raises(WeightsError) as caught:
            convert(copy, tmp_path / "out")
        assert message in str(caught.value)
        assert not (tmp_path / "out").exists()

    def cut(file):
        del file["top_conv/top_conv/kernel"]
        file["top_conv/top_conv/kernel"] = np.zeros((1, 1, 320, 640), np.float32)

    def elsewhere(file):
        del file["top_bn/top_bn/gamma"]
        file.create_dataset(
            "top_bn/top_bn/gamma", (1280,), "f4", external=[(str(tmp_path / "secret.bin"), 0, 1280 * 4)]
        )

    (tmp_path / "secret.bin").write_bytes(bytes(1280 * 4))
    refused("lacks block3a_dwconv/kernel", lambda file: file["block3a_dwconv/block3a_dwconv"].pop("kernel"))
    refused("(1, 1, 320, 640)", cut)
    refused("is stored in another file", elsewhere)
    refused(
        "not finite numbers", lambda file: file["stem_bn/stem_bn/beta"].write_direct(np.full(32, np.nan, np.float32))
    )
    refused(
        "The layer 'stem_bn' lists weights that are no names",
        lambda file: file["stem_bn"].attrs.__setitem__("weight_names", 3),
    )
    refused("contains no Keras weights", lambda file: [file.attrs.pop("layer_names"), file.clear()])
    (tmp_path / "text.h5").write_text("weights, honestly")
    with pytest.raises(WeightsError, match="Not an HDF5 file"):
        convert(tmp_path / "text.h5", tmp_path / "out")
    with pytest.raises(UsageError, match="no such file"):
        convert(tmp_path / "absent.h5", tmp_path / "out")
    with pytest.raises(UsageError, match="not empty"):
        convert(path, tmp_path)


@pytest.fixture(scope="module")
def published_file(published, tmp_path_factory):
    return as_keras_2(save_older(published, tmp_path_factory.mktemp("published") / "weights.h5"))


def test_a_file_at_which_hdf5_never_returns_is_refused(published_file, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import h5py\nplain = h5py.File\ndef File(*a, **k):\n    while True: pass\nh5py.File = File\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setattr(convert_module, "SECONDS_TO_READ", 3)
    with pytest.raises(WeightsError, match="is damaged: no result after 3 seconds"):
        convert(published_file, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["link", "raw bytes", "damaged names", "no attribute"])
def test_weights_elsewhere_or_damaged_are_refused(published_file, tmp_path, kind):
    copy = tmp_path / "weights.h5"
    copy.write_bytes(published_file.read_bytes())
    with h5py.File(copy, "a") as file:
        group = file["stem_conv"]
        name = "stem_conv/kernel:0"
        if kind == "link":
            del group[name]
            group[name] = h5py.ExternalLink(str(published_file), f"/stem_conv/{name}")
        elif kind == "raw bytes":
            shape, kind_of = group[name].shape, group[name].dtype
            del group[name]
            group.create_dataset(name, shape, kind_of, external=[(str(published_file), 0, h5py.h5f.UNLIMITED)])
        elif kind == "damaged names":
            group.attrs["weight_names"] = np.array([b"\xff\xfe/kernel"])
        else:
            file.attrs["layer_names"] = 3
    with pytest.raises(WeightsError) as raised:
        convert(copy, tmp_path / "out")
    assert raised.value.where == str(copy)
