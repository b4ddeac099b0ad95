"""The figures about data and models: what they show is right, and each is written."""

from __future__ import annotations

import io
import json
import sys
import types
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.read_images import read_images
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.commands.explore import explore as commands
from cytoimagenet.eval.explore import figures
from cytoimagenet.eval.explore import maps as explore
from cytoimagenet.eval.explore.composition import composition
from cytoimagenet.eval.explore.diversity import above, diversity
from cytoimagenet.eval.explore.per_class import by_category, missed_classes, read_per_class
from cytoimagenet.eval.features import backbones
from cytoimagenet.eval.features import dataset_images as images
from cytoimagenet.eval.sets import cyclops
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from typer.testing import CliRunner


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


@given(
    values=arrays(np.float64, (9, 3), elements=st.floats(0.1, 9)),
    code=st.lists(st.sampled_from("abc"), min_size=9, max_size=9),
)
def test_diversity_equals_every_pair(values, code):
    table = diversity(values, code).set_index("label")
    for label in set(code):
        here = [v for v, c in zip(values, code, strict=True) if c == label]
        others = [v for v, c in zip(values, code, strict=True) if c != label]
        intra = [cosine(a, b) for a, b in combinations(here, 2)]
        inter = [cosine(a, b) for a in here for b in others]
        for name, pairs in (("intra", intra), ("inter", inter)):
            if pairs:
                assert table.loc[label, name] == pytest.approx(np.mean(pairs), abs=1e-9)
            else:
                assert np.isnan(table.loc[label, name])


def test_the_list_above_a_threshold():
    table = pd.DataFrame({"label": ["c", "a", "b", "single"], "intra": [0.9, 0.81, 0.8, np.nan]})
    assert above(table) == ["a", "c"]


class Means(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3)), x.var((1, 2, 3))], 1)


@pytest.fixture
def network():
    return backbones.backbone(Means(), "means")


def test_images_of_a_dataset_are_those_of_its_shards(small_dataset, tmp_path, network):
    chosen = images.choose(small_dataset, classes=3, images=4, seed=1)
    assert chosen.table.groupby("label").size().tolist() == [4, 4, 4]
    plain = read_images(chosen.table, small_dataset)
    for i in range(len(chosen)):
        assert np.array_equal(chosen.load(i)[0], np.asarray(plain[i]))
    table = explore.features_of(chosen, network, tmp_path, size=8, engine="torch")
    assert table.ids == chosen.table["key"].tolist()
    means = [np.asarray(image).mean() / 255 for image in plain]
    np.testing.assert_allclose(table.values[:, 0], means, atol=0.03)
    again = images.choose(small_dataset, classes=3, images=4, seed=1)
    assert again.digest() == chosen.digest() != images.choose(small_dataset, classes=3, images=4, seed=2).digest()


def test_chosen_labels(small_dataset):
    label = Manifest.load(small_dataset).class_names[1]
    assert set(images.choose(small_dataset, labels=[label], images=2).table["label"]) == {label}
    with pytest.raises(UsageError, match="no such"):
        images.choose(small_dataset, labels=["no such"])


def test_fields_are_merged_from_raw_each_once(tmp_path, rng):
    raw = rng.integers(0, 4000, (2, 20, 30)).astype(np.uint16)
    (tmp_path / "bbbc").mkdir()
    for number, plane in enumerate(raw):
        Image.fromarray(plane).save(tmp_path / "bbbc" / f"{number}.tif")
    rows = pd.DataFrame({"label": "actin", "key": ["k1", "k2"], "idx": "i", "channels": "bbbc/0.tif|bbbc/1.tif"})
    crops = images.Images("dataset", tmp_path, rows, ("grey",), (8, 8), data="d")
    whole = images.source_images(crops, tmp_path)
    assert whole.ids == ["actin i"]
    expected = np.mean(
        [np.clip((p - np.percentile(p, 0.1)) / np.ptp(np.percentile(p, [0.1, 99.9])), 0, 1) for p in raw], 0
    )
    loaded = whole.load(0)
    assert loaded.shape == (1, 20, 30) and loaded.dtype == np.uint8
    assert np.corrcoef(loaded.ravel(), expected.ravel())[0, 1] > 0.999


def test_umap_gets_a_seed_and_no_more_neighbours_than_there_are(monkeypatch, rng):
    # the real one compiles for a minute; its maps were checked by eye
    asked = []

    class UMAP:
        def __init__(self, **settings):
            asked.append(settings)

        def fit_transform(self, values):
            assert values.dtype == np.float32
            return values[:, :2].astype(np.float64)

    monkeypatch.setitem(sys.modules, "umap", types.SimpleNamespace(UMAP=UMAP))
    assert explore.project(rng.random((8, 5)), seed=3).shape == (8, 2)
    explore.project(rng.random((80, 5)))
    assert asked == [
        {"random_state": 3, "n_jobs": 1, "n_neighbors": 7},
        {"random_state": 0, "n_jobs": 1, "n_neighbors": 15},
    ]
    with pytest.raises(UsageError, match="too few"):
        explore.project(rng.random((4, 5)))


def test_composition_counts_every_image(small_dataset):
    tables = composition(small_dataset)
    manifest = Manifest.load(small_dataset)
    total = manifest.rows("train") + manifest.rows("validation")
    assert {name: table["images"].sum() for name, table in tables.items()} == dict.fromkeys(tables, total)
    assert tables["category"]["classes"].sum() == len(manifest.class_names)


PER_CLASS = """label,category,train,validation,evaluated,right,accuracy,top7
a,compound,9,2,2,0,0,0.5
nan,compound,9,2,2,0,0,0
b,gene,9,2,2,1,0.5,1
c,gene,9,0,0,0,,
"""


def test_classes_never_correct(tmp_path):
    (tmp_path / "per_class.csv").write_text(PER_CLASS)
    assert missed_classes(read_per_class(tmp_path))["label"].tolist() == ["a", "nan"]
    assert by_category(read_per_class(tmp_path)) == [
        {"category": "compound", "classes": 2, "nothing_right": 2},
        {"category": "gene", "classes": 1, "nothing_right": 0},
    ]
    with pytest.raises(UsageError, match=r"per_class\.csv"):
        read_per_class(tmp_path / "nowhere")


def opened(data):
    return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)


def test_maps_list_few_values_and_use_a_scale_for_many(rng):
    table = pd.DataFrame({"x": rng.random(60), "y": rng.random(60)})
    table["label"] = [f"$class {i % 30}" for i in range(60)]  # more than have a colour, with a formula's sign
    table["scaling"] = rng.random(60)
    data = figures.maps([("class", table, "label"), ("scale", table, "scaling")])
    width, height = opened(data).size
    assert width > height and data == figures.maps([("class", table, "label"), ("scale", table, "scaling")])


def test_a_grid_keeps_proportions():
    tall = np.full((40, 20), 100, np.uint8)
    sheet = np.asarray(opened(figures.grid([tall, tall.T, tall], columns=2, tile=10, gap=2)))
    assert sheet.shape == (22, 22)
    assert (sheet[:10, 3:7] == 100).all() and (sheet[:10, [0, 1, 8, 9]] == 255).all()
    assert (sheet[3:7, 12:] == 100).all() and (sheet[12:, 12:] == 255).all()


def test_a_grid_of_classes_has_captions():
    tall = np.full((40, 20), 100, np.uint8)
    plain = np.asarray(opened(figures.grid([tall] * 3, columns=2, tile=40, gap=2)))
    sheet = np.asarray(opened(figures.grid([tall] * 3, 2, tile=40, gap=2, captions=["actin", "", "a" * 99])))
    assert (plain.shape, sheet.shape) == ((82, 82), (110, 82))
    assert (sheet[40:54, :40] < 128).any() and (sheet[40:54, 42:] == 255).all()  # the second has no name
    np.testing.assert_array_equal(sheet[56:96, :40], plain[42:82, :40])


def test_a_map_may_be_coloured_by_any_column_of_the_table(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(explore, "project", lambda values, seed=0: values[:, :2])
    frame = pd.DataFrame(rng.random((20, 3)), columns=["f0000", "f0001", "f0002"])
    frame = frame.assign(
        id=[f"c{i}" for i in range(20)], label="x", Metadata_dose=np.arange(20.0), note=["a", None] * 10
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for source in (frame, tmp_path / "t.parquet", tmp_path / "t.csv"):
        table = explore.map_of_table(source, rows=7, colours=["dose", "note"])
        assert table["id"].str[1:].astype(float).tolist() == table["dose"].tolist()
        assert set(table["note"]) == {"a", ""}
    assert [title for title, _, _ in explore.panels(table, ["dose", "label"])] == ["dose", "class"]
    with pytest.raises(UsageError, match="There is no column 'age' to colour by"):
        explore.map_of_table(frame, colours=["age"])
    output = run("umap", "--features", tmp_path / "t.csv", "--colour", "dose", "--out", tmp_path / "u.png")
    assert "images: 20" in output and opened(tmp_path / "u.png").width > 300


def test_names_of_classes_do_not_overlap(rng):
    table = pd.DataFrame({"label": [f"class {i}" for i in range(40)], "intra": 0.5, "inter": 0.5})
    written = []

    class Axes:
        def annotate(self, name, *_, **__):
            written.append(name)

    figures._name_points(Axes(), table, [0.4, 0.6])
    assert len(written) == 1
    written.clear()
    figures._name_points(Axes(), table.assign(intra=np.linspace(0, 1, 40)), [0, 2])
    assert 10 < len(written) < 40


def run(*arguments):
    result = CliRunner().invoke(commands, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_commands_without_a_network(small_dataset, tmp_path):
    label = Manifest.load(small_dataset).class_names[0]
    assert json.loads(run("composition", small_dataset, "--out", "c.png", "--json"))["figure"] == "c.png"
    assert "images: 9" in run("grid", small_dataset, "--label", label, "--images", 9, "--out", "g.png")
    assert "images: 2" in run("grid", small_dataset, "--images", 2, "--out", "one.png")
    (tmp_path / "per_class.csv").write_text(PER_CLASS)
    printed = json.loads(run("per-class", tmp_path, "--out", "p.png", "--json"))
    assert (printed["classes"], printed["never_right"], printed["labels"]) == (3, 2, ["a", "nan"])
    for name in ("c.png", "g.png", "one.png", "p.png"):
        assert opened(tmp_path / name).width > 20


def test_commands_with_a_network(small_dataset, tmp_path, monkeypatch, network):
    monkeypatch.setattr(backbones, "load", lambda name: network)
    monkeypatch.setattr(explore, "project", lambda values, seed=0: np.asarray(values)[:, :2])
    options = ("--size", 8, "--engine", "torch", "--images", 3)
    printed = json.loads(run("umap", small_dataset, *options, "--classes", 2, "--out", "u.png", "--json"))
    assert (printed["images"], printed["classes"]) == (6, 2)
    assert len(pd.read_csv("u.csv")) == 6
    printed = json.loads(run("diversity", small_dataset, *options, "--threshold", -1, "--out", "d.png", "--json"))
    assert printed["above"] == printed["classes"]
    assert json.loads((tmp_path / "d.labels.json").read_text()) == sorted(Manifest.load(small_dataset).class_names)
    for name in ("u.png", "d.png"):
        assert opened(tmp_path / name).width > 200


def test_a_map_of_a_table_of_features(small_dataset, tmp_path, monkeypatch, rng):
    monkeypatch.setattr(explore, "project", lambda values, seed=0: np.asarray(values)[:, :2])
    known = Manifest.load(small_dataset).metadata(["key", "label", "name", "scaling"])
    some = known.sample(40, random_state=1)
    table = pd.DataFrame({"id": [*some["key"], "of another dataset"], "a": np.arange(41.0), "b": 1.0, "gap": np.nan})
    table.to_parquet(tmp_path / "t.parquet")
    printed = json.loads(
        run("umap", small_dataset, "--features", "t.parquet", "--rows", 30, "--out", "t.png", "--json")
    )
    assert (printed["images"], printed["model"]) == (30, "t.parquet")
    points = pd.read_csv("t.csv", keep_default_na=False)
    found = points.merge(table, on="id").merge(known, left_on="id", right_on="key", suffixes=("", "_known"))
    assert (found["x"] == found["a"]).all() and (found["label"] == found["label_known"]).all() and len(found) == 30
    assert explore.panels(points)[0][0] == "class"
    # a table with its own labels needs no folder; one of a task takes them from the folder of the task
    plain = table.assign(label="k", split=np.where(table["a"] > 9, "test1", "train"))
    assert [name for name, _, _ in explore.panels(explore.map_of_table(plain))] == ["class", "set"]
    simulate_cyclops(tmp_path / "cyclops", cells=4, layout="tree")
    samples = cyclops.read(tmp_path / "cyclops")
    cells = pd.DataFrame({"id": samples.ids[::-1], "a": rng.random(len(samples)), "b": 0.0})
    mapped = explore.map_of_table(cells, tmp_path / "cyclops", task="cyclops")
    assert dict(zip(mapped["id"], mapped["label"], strict=True)) == dict(
        zip(samples.ids, samples.table["label"], strict=True)
    )
    with pytest.raises(UsageError, match="No id of the table"):
        explore.map_of_table(cells, small_dataset)
    for wrong in (["umap"], ["umap", small_dataset, "--task", "cyclops"]):
        assert isinstance(CliRunner().invoke(commands, [str(a) for a in wrong]).exception, UsageError)
