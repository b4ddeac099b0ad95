"""The map of a dataset in one page, and the images most like another."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.dataset.read_images import read_images
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.commands.embed import similar as similar_command
from cytoimagenet.eval.explore import atlas
from cytoimagenet.eval.explore.similar import similar
from cytoimagenet.eval.features import backbones
from cytoimagenet.eval.features.embed import embed


@pytest.fixture(scope="module")
def network():
    return backbones.backbone(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(5), torch.nn.Flatten()), "tiny")


@pytest.fixture(scope="module")
def folder(small_dataset, network, tmp_path_factory):
    copy = tmp_path_factory.mktemp("embedded") / "cytoimagenet"
    shutil.copytree(small_dataset, copy)
    embed(copy, network, size=20, engine="torch", workers=1)
    return copy


@pytest.fixture
def flat(monkeypatch):
    """A map that is quick to compute: the first two components."""
    monkeypatch.setattr(atlas, "project", lambda values, seed: np.ascontiguousarray(values[:, :2]))


def oracle(folder, query):
    """Return the cosine similarity of a vector to all vectors."""
    from cytoimagenet.builder.dataset.embeddings import open_embeddings

    vectors = open_embeddings(Manifest.load(folder)).load().astype(np.float64)
    return vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query), vectors


def test_similar_images_of_a_key(folder):
    rows = Manifest.load(folder).metadata()
    table, pictures = similar(folder, rows.loc[7, "key"], images=9)
    value, _ = oracle(folder, oracle(folder, np.ones(75))[1][7])
    value[7] = -1
    best = np.argsort(-value, kind="stable")[:9]
    assert table["key"].tolist() == rows.loc[best, "key"].tolist()
    assert np.allclose(table["similarity"], value[best], atol=1e-4)
    shown = read_images(rows.iloc[[7, *best]], folder)
    assert all(np.array_equal(a, np.asarray(b)) for a, b in zip(pictures, shown, strict=True))


def test_similar_images_of_a_file(folder, network, tmp_path, monkeypatch):
    monkeypatch.setattr(backbones, "load", lambda what: network)
    rows = Manifest.load(folder).metadata()
    image = read_images(rows.iloc[[3]], folder)[0]
    image.save(tmp_path / "cell.png")
    table, _ = similar(folder, str(tmp_path / "cell.png"), images=3, engine="torch")
    assert table.loc[0, "key"] == rows.loc[3, "key"]
    with pytest.raises(UsageError, match="neither the key"):
        similar(folder, "no-such-image")
    other = backbones.backbone(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(3), torch.nn.Flatten()), "other")
    monkeypatch.setattr(backbones, "load", lambda what: other)
    with pytest.raises(UsageError, match="not the one that computed"):
        similar(folder, str(tmp_path / "cell.png"))


def test_the_command_writes_a_picture_and_a_table(folder, tmp_path, capsys):
    key = Manifest.load(folder).metadata(["key"])["key"][0]
    similar_command(str(folder), key, out=tmp_path / "like.png", images=4, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (tmp_path / "like.png").read_bytes().startswith(b"\x89PNG")
    with (tmp_path / "like.csv").open() as file:
        assert [row["key"] for row in csv.DictReader(file)] == [row["key"] for row in found["images"]]


def test_the_page_has_every_image_or_a_sample(folder, tmp_path, flat):
    everything = atlas.write_atlas(folder, tmp_path / "all.html", workers=1)
    assert (everything["images"], everything["classes"]) == (300, 5)
    assert everything["bytes"] == (tmp_path / "all.html").stat().st_size
    again = atlas.write_atlas(folder, tmp_path / "again.html", workers=3)
    assert again["bytes"] == everything["bytes"]
    assert (tmp_path / "all.html").read_bytes() == (tmp_path / "again.html").read_bytes()
    assert atlas.write_atlas(folder, tmp_path / "some.html", images=40)["images"] == 40


def test_nothing_is_loaded_from_elsewhere(folder, tmp_path, flat):
    atlas.write_atlas(folder, tmp_path / "atlas.html")
    page = (tmp_path / "atlas.html").read_text()
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page


def test_text_of_the_data_cannot_end_the_script():
    assert "<" not in atlas._json({"keys": "</script><script>alert(1)</script>"})
    assert json.loads(atlas._json({"keys": "a<b>&"})) == {"keys": "a<b>&"}


def test_columns_are_sorted_by_their_size():
    import pandas as pd

    column = atlas._column("class", pd.Series(["b", "a", "c", "c", "a"]))
    assert column["values"] == ["a", "c", "b"]


@pytest.mark.browser
def test_the_map_in_a_browser(folder, tmp_path, chromium, flat):
    from selenium.webdriver import ActionChains

    atlas.write_atlas(folder, tmp_path / "atlas.html")
    rows = Manifest.load(folder).metadata()
    chromium.get((tmp_path / "atlas.html").as_uri())
    run = chromium.execute_script
    assert not [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    assert run("return [total, found, keys[7]]") == [300, 300, rows.loc[7, "key"]]
    # every point is where it should be, and the nearest one is found
    place = "[X[i] * view.scale + view.left, Y[i] * view.scale + view.top]"
    alone = run(f"""for (let i = 0; i < total; i++) {{
        const [x, y] = {place};
        let close = 0;
        for (let j = 0; j < total; j++) close += Math.hypot((X[j] - X[i]), (Y[j] - Y[i])) * view.scale < 12;
        if (close === 1) return [i, x, y, nearest(x + 2, y - 2, 9)];
    }}""")
    assert alone[0] == alone[3]
    canvas = chromium.find_element("id", "points")
    width, height = run("return [canvas.clientWidth, canvas.clientHeight]")
    ratio = run("return ratio")
    ActionChains(chromium).move_to_element_with_offset(
        canvas, round(alone[1] / ratio - width / 2), round(alone[2] / ratio - height / 2)
    ).perform()
    caption = chromium.find_element("css selector", "#hovered figcaption").text
    assert rows.loc[alone[0], "label"] in caption
    assert rows.loc[alone[0], "key"] in caption
    drawn = chromium.execute_async_script(f"""const done = arguments[0];
        const target = document.createElement("canvas"); target.width = target.height = 48;
        picture({alone[0]}, target).then(() => done([...target.getContext("2d").getImageData(0, 0, 48, 48).data]));""")
    pixels = np.array(drawn).reshape(48, 48, 4)[:, :, 0].astype(float)
    image = read_images(rows.iloc[[alone[0]]], folder)[0]
    from cytoimagenet.builder.images.contact_sheet import grid
    from PIL import Image

    expected = grid([image], 1, background=128, side=48, gap=0, resample=Image.Resampling.BILINEAR)
    assert np.corrcoef(pixels.ravel(), np.asarray(expected, float).ravel())[0, 1] > 0.95
    # search
    chromium.find_element("id", "words").send_keys("actin")
    assert run("return found") == (rows["label"] == "actin").sum()
    chromium.find_element("id", "reset").click()
    assert run("return found") == 300
    # a region
    chromium.find_element("id", "select").click()
    corner = [(-width // 3, -height // 3), (width // 3, -height // 3), (width // 3, height // 3), (-width // 3, 0)]
    steps = ActionChains(chromium).move_to_element_with_offset(canvas, *corner[0]).click_and_hold()
    for right, down in corner[1:]:
        steps = steps.move_to_element_with_offset(canvas, right, down)
    steps.release().perform()
    chosen = run("return selected && [...selected].reduce((a, b) => a + b)")
    assert 0 < chosen < 300
    assert str(chosen) in chromium.find_element("css selector", "#selection h2").text
    table = list(csv.DictReader(run("return csv()").splitlines()))
    assert len(table) == chosen
    label = rows.set_index("key")["label"]
    assert all(label[row["key"]] == row["class"] for row in table)
    # zoom and keys
    scale = run("return view.scale")
    chromium.find_element("id", "closer").click()
    assert run("return view.scale") > scale
    device = {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    chromium.get((tmp_path / "atlas.html").as_uri())
    assert run("return document.documentElement.scrollWidth") <= 390
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
