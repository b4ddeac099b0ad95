"""Features: one decode per image, the same table in every run, nothing computed twice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from cytoimagenet.builder.errors import NotFiniteImageError, UsageError
from cytoimagenet.builder.images.normalise import normalise
from cytoimagenet.eval.commands import features as command
from cytoimagenet.eval.features import backbones, cache, engine, fusion, views
from cytoimagenet.eval.features.extract import extract
from cytoimagenet.eval.features.table import Features
from cytoimagenet.eval.sets.samples import Samples
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.tables.feature_table import read_table
from typer.testing import CliRunner


@dataclass(frozen=True)
class Made(Samples):
    """Samples in memory that count how often each was decoded."""

    pixels: np.ndarray = field(default=None)
    decoded: Counter = field(default_factory=Counter)

    def planes(self, i):
        self.decoded[i] += 1
        return self.pixels[i]

    def digest(self, cache=None):
        return f"{hash(self.pixels.tobytes())}-{'/'.join(self.ids)}"


def made(pixels, prefix="s", splits=""):
    n, c, h, w = pixels.shape
    table = pd.DataFrame({"id": [f"{prefix}{i}" for i in range(n)], "label": "", "split": splits})
    return Made("made", Path(), table, tuple("abcd"[:c]), (h, w), pixels=pixels)


class Moments(torch.nn.Module):
    """Compute three features that are easy to compute by hand."""

    def __init__(self, power=1.0):
        super().__init__()
        self.power = torch.nn.Parameter(torch.tensor(power))

    def forward(self, x):
        assert x.shape[1] == 3
        return torch.stack([x.mean((1, 2, 3)) ** self.power, x.amax((1, 2, 3)), x[:, 1].amin((1, 2))], 1)


@pytest.fixture
def pixels(rng):
    return rng.integers(0, 60000, (37, 2, 12, 10)).astype(np.uint16)


def moments(image):
    return [image.mean(), image.max(), image.min()]


def test_four_methods_equal_a_plain_loop_from_one_decode_each(pixels, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_CHUNK", 16)
    monkeypatch.setattr("cytoimagenet.eval.features.extract.BATCH_PIXELS", 5 * 2 * 120)
    samples = made(pixels)
    tables = extract(samples, backbones.backbone(Moments(), "m"), cache=tmp_path, engine="torch")
    # once each, for all four; and one look at the first for its type
    assert samples.decoded - Counter([0]) == Counter(range(37))
    for method in views.METHODS:
        expected = []
        for planes in pixels:
            scaled = [normalise(p) if method.endswith("norm") else p / np.float32(65535) for p in planes]
            shown = scaled if method.startswith("concat") else [np.mean(scaled, axis=0)]
            expected.append(np.concatenate([moments(view) for view in shown]))
        table = tables["m", method]
        assert table.values.dtype == np.float32 and table.ids == samples.ids
        np.testing.assert_allclose(table.values, expected, rtol=1e-5, atol=1e-6)
        assert table.settings["input_size"] == "native" and table.settings["preprocess"] == method


def test_two_networks_share_the_decode(pixels, tmp_path):
    samples = made(pixels)
    both = [backbones.backbone(Moments(1.0), "one"), backbones.backbone(Moments(2.0), "two")]
    tables = extract(samples, both, methods=["merge-norm", "merge-raw"], cache=tmp_path, engine="torch")
    assert samples.decoded - Counter([0]) == Counter(range(37)) and len(tables) == 4
    assert not np.allclose(tables["one", "merge-raw"].values, tables["two", "merge-raw"].values)


def test_a_rerun_computes_only_what_is_missing(pixels, tmp_path):
    network = backbones.backbone(Moments(), "m")
    first = extract(made(pixels), network, methods=["concat-norm"], cache=tmp_path, engine="torch")
    again = made(pixels)
    same = extract(again, network, methods=["concat-norm"], cache=tmp_path, engine="torch")
    assert not again.decoded
    assert np.array_equal(first["m", "concat-norm"].values, same["m", "concat-norm"].values)
    extract(again, network, methods=["concat-norm", "merge-norm"], cache=tmp_path, engine="torch")
    assert set(again.decoded.values()) == {1}


@pytest.mark.parametrize("change", ["weights", "pixels", "ids", "size", "method"])
def test_every_input_changes_the_key_of_the_cache(pixels, tmp_path, change):
    settings = {"methods": ["merge-raw"], "cache": tmp_path, "engine": "torch"}
    extract(made(pixels), backbones.backbone(Moments(), "m"), **settings)
    samples, power = made(pixels), 1.0
    if change == "weights":
        power = 1.5
    elif change == "pixels":
        samples = made(pixels + 1)
    elif change == "ids":
        samples = made(pixels, prefix="t")
    elif change == "size":
        settings["size"] = 8
    else:
        settings["methods"] = ["merge-norm"]
    extract(samples, backbones.backbone(Moments(power), "m"), **settings)
    assert len(samples.decoded) == 37


@pytest.mark.parametrize("stop", range(0, 12))
def test_a_run_killed_at_any_write_resumes_to_the_same_table(pixels, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(cache, "MAX_CHUNK", 16)
    settings = {"methods": ["concat-norm", "merge-raw"], "engine": "torch"}
    network = backbones.backbone(Moments(), "m")
    whole = extract(made(pixels), network, cache=tmp_path / "whole", **settings)

    class KilledError(BaseException):
        pass

    count = 0
    real_write, real_open = cache.write_atomic, cache.atomic_writer

    def counted(real):
        def write(*arguments):
            nonlocal count
            if count == stop:
                raise KilledError
            count += 1
            return real(*arguments)

        return write

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_atomic", counted(real_write))
        patch.setattr(cache, "atomic_writer", counted(real_open))
        try:
            extract(made(pixels), network, cache=tmp_path / "cut", **settings)
        except KilledError:
            pass
        else:
            assert count <= stop
    resumed = made(pixels)
    cut = extract(resumed, network, cache=tmp_path / "cut", **settings)
    for key, table in whole.items():
        assert np.array_equal(table.values, cut[key].values)
    if stop >= 7:  # one write of nothing but names is left: no image may be decoded again
        assert not resumed.decoded
    assert not list((tmp_path / "cut").rglob("chunk-*"))


def test_input_size_resizes_every_view(pixels, tmp_path):
    table = extract(
        made(pixels), backbones.backbone(Moments(), "m"), size=6, methods=["merge-raw"], cache=tmp_path, engine="torch"
    )["m", "merge-raw"]
    plain = pixels.mean(axis=(1, 2, 3)) / 65535
    # the mean survives shrinking, the extremes do not
    np.testing.assert_allclose(table.values[:, 0], plain, atol=0.02)
    assert (table.values[:, 1] < (pixels.mean(1) / 65535).max((1, 2))).all()
    assert table.settings["input_size"] == 6 and table.settings["shown"] == [6, 6]


def test_constant_channels_become_zero_and_are_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_CHUNK", 16)
    pixels = np.zeros((20, 2, 8, 8), np.uint8)
    pixels[:, 1, :4] = 200
    options = {"methods": ["concat-norm", "concat-raw"], "cache": tmp_path, "engine": "torch"}
    tables = extract(made(pixels), backbones.backbone(Moments(), "m"), **options)
    assert np.array_equal(tables["m", "concat-norm"].values, [[0, 0, 0, 0.5, 1, 0]] * 20)
    assert [tables["m", method].settings["constant_channels"] for method in options["methods"]] == [20, None]
    # a run that was stopped between its chunks counts all of them in the end
    place = next(tmp_path.rglob("m-concat-norm-*"))
    cache.write_chunk(place, 0, np.load(place / "features.npy")[:16], 16)
    (place / "features.npy").unlink()
    again = extract(made(pixels), backbones.backbone(Moments(), "m"), **options)["m", "concat-norm"]
    assert (again.settings["computed"], again.settings["constant_channels"]) == (4, 20)


def test_full_scale_of_floats_is_the_train_split():
    pixels = np.arange(4 * 2 * 9, dtype=np.float64).reshape(4, 2, 3, 3)
    assert made(pixels).full_scale() == 71
    assert made(pixels, splits=["train", "train", "test1", "test1"]).full_scale() == 35
    assert made(pixels.astype(np.int32)).full_scale() == 71  # no camera fills 32 bits
    assert made(pixels.astype(np.uint8)).full_scale() == 255
    assert made(pixels * 0).full_scale() == 1


def test_pixels_that_are_not_numbers_are_refused_by_sample(tmp_path):
    pixels = np.ones((3, 1, 4, 4), np.float32)
    pixels[2, 0, 1, 1] = np.nan
    with pytest.raises(NotFiniteImageError, match="s2"):
        extract(made(pixels), backbones.backbone(Moments(), "m"), methods=["merge-raw"], cache=tmp_path, engine="torch")


def test_unknown_names_are_refused(pixels, tmp_path):
    network = backbones.backbone(Moments(), "m")
    with pytest.raises(UsageError, match="merge-all"):
        extract(made(pixels), network, methods=["merge-all"], cache=tmp_path)
    with pytest.raises(UsageError, match="tensorrt"):
        extract(made(pixels), network, cache=tmp_path, engine="tensorrt")
    with pytest.raises(UsageError, match="same name"):
        extract(made(pixels), [network, network], cache=tmp_path)


def test_a_network_of_another_size_is_refused_with_advice(pixels, tmp_path):
    fixed = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4))
    with pytest.raises(UsageError, match="12 x 10") as caught:
        extract(made(pixels), backbones.backbone(fixed, "fixed"), cache=tmp_path, engine="torch")
    assert "--input-size" in caught.value.next


def test_saved_table_reads_back(pixels, tmp_path):
    table = extract(
        made(pixels), backbones.backbone(Moments(), "m"), methods=["concat-raw"], cache=tmp_path, engine="torch"
    )["m", "concat-raw"]
    table.save(tmp_path / "features.parquet")
    back = pd.read_parquet(tmp_path / "features.parquet")
    assert back["id"].tolist() == table.ids
    assert np.array_equal(back.drop(columns="id").to_numpy(), table.values)


def test_digest_sees_weights_buffers_and_architecture():
    plain = torch.nn.BatchNorm2d(3)
    moved = torch.nn.BatchNorm2d(3)
    moved.running_mean += 1e-6
    other = torch.nn.BatchNorm2d(3, eps=1e-3)
    found = {backbones.digest_of(module) for module in (plain, torch.nn.BatchNorm2d(3), moved, other)}
    assert len(found) == 3


def test_openvino_gives_the_same_features(pixels, tmp_path):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.SiLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    shown = np.random.default_rng(0).random((5, 12, 10), dtype=np.float32)
    eager = engine.runner(network, "n", (12, 10), "torch")(shown)
    fast = engine.runner(network, "n", (12, 10), "openvino")(shown)
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, eager, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="CPU"):
        engine.choose("openvino", "cuda")
    assert engine.choose("auto", "cpu") == "openvino" and engine.choose("auto", "cuda") == "torch"


def table_of(ids, values, model="m"):
    return Features(list(ids), np.asarray(values, np.float32), {"model": model, "weights": model})


def test_fusion_joins_by_id():
    one = table_of("abc", [[1], [2], [3]], "imagenet")
    two = table_of("cab", [[30, 31], [10, 11], [20, 21]], "run")
    fused = fusion.fuse(one, two)
    assert fused.ids == ["a", "b", "c"]
    assert fused.values.tolist() == [[1, 10, 11], [2, 20, 21], [3, 30, 31]]
    assert fused.settings["weights"] == ["imagenet", "run"]


@pytest.mark.parametrize(("ids", "message"), [("abd", "2 samples"), ("ab", "1 samples"), ("abb", "Two rows")])
def test_fusion_refuses_other_samples(ids, message):
    with pytest.raises(UsageError, match=message):
        fusion.fuse(table_of("abc", [[1], [2], [3]]), table_of(ids, [[1]] * len(ids)))


def test_the_command_writes_tables_that_can_be_scored(tmp_path, monkeypatch):
    data = simulate_bbbc021(tmp_path / "data" / "bbbc021", shape=(16, 20), sites=1).parent
    monkeypatch.setattr(backbones, "load", lambda name: backbones.backbone(Moments(), name))

    def run(*arguments):
        result = CliRunner().invoke(app, ["--data", str(data), "--engine", "torch", "--json", *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    app = typer.Typer()
    command.add_to(app)
    (one,) = run("--model", "m", "--out", "one.parquet")
    assert one["path"] == "one.parquet" and one["features"] == 9 and one["preprocess"] == "concat-norm"
    several = run("--model", "m", "--preprocess", "merge-norm,merge-raw", "--input-size", "8", "--out", "t.parquet")
    assert [made["path"] for made in several] == ["t-bbbc021-merge-norm.parquet", "t-bbbc021-merge-raw.parquet"]
    table = read_table("one.parquet")
    assert table.values.shape == (one["rows"], 9) and table.keys["id"].is_unique
    before = Path("one.parquet").read_bytes()
    run("--model", "m", "--out", "one.parquet", "--cache", "another")
    assert Path("one.parquet").read_bytes() == before  # nothing of the run is in it


def test_any_transformers_model_is_a_backbone(pixels, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    small = ViTConfig(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, image_size=16, patch_size=8
    )
    ViTForImageClassification(small).save_pretrained(tmp_path / "vit")
    network = backbones.load(str(tmp_path / "vit"))
    assert network.name == "vit"
    options = {"methods": ["merge-norm"], "cache": tmp_path / "cache", "engine": "torch"}
    table = extract(made(pixels), network, size=16, **options)["vit", "merge-norm"]
    assert table.values.shape == (37, 12) and np.isfinite(table.values).all() and table.values.std(0).min() > 0
    with pytest.raises(UsageError, match="12 x 10"):  # its own size is fixed
        extract(made(pixels), network, **options)


def test_seeds_of_random_weights_differ():
    one, two = backbones.load("random:1"), backbones.load("random:2")
    assert one.digest != two.digest and one.digest == backbones.load("random:1").digest
    assert (one.name, one.source) == ("random:1", "random:1")
