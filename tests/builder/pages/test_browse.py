"""The page of the classes: plain files, escaped, searchable in a real browser, usable on a phone."""

from __future__ import annotations

import re
import shutil
import sys

import numpy as np
import pytest
from cytoimagenet.builder import console, schema
from cytoimagenet.builder.commands import dataset
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import CheckFailedError
from cytoimagenet.builder.images.contact_sheet import GAP, TILE, grid
from cytoimagenet.builder.pages.browse import write_site
from cytoimagenet.builder.pages.card import body
from cytoimagenet.builder.shards.verify import verify
from cytoimagenet.builder.shards.write import write_dataset
from PIL import Image

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}' onclick='x"


@pytest.fixture(scope="module")
def hostile(small_curated, tmp_path_factory):
    """A dataset one of whose labels is an attack."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copytree(small_curated, folder / "curated")
    rows = schema.read(folder / "curated" / "rows.parquet", schema.CURATED)
    rows["label"] = rows["label"].where(rows["label"] != "hela", HOSTILE)
    schema.write(rows, folder / "curated" / "rows.parquet", schema.CURATED)
    write_dataset(folder / "curated", folder / "cytoimagenet")
    return folder / "cytoimagenet"


def test_every_class_is_there_with_its_numbers_and_examples(small_dataset, tmp_path):
    page = write_site(small_dataset, tmp_path / "site", images=4)
    text = (tmp_path / "site" / "index.html").read_text()
    assert page == f"{tmp_path}/site/index.html"
    for entry in Manifest.load(small_dataset).classes:
        assert f"<h2>{entry['label']}</h2>" in text
    assert text.count("<b>cell_visible</b> · 60 images (54 train, 6 validation)") == 2
    assert "300 images in 5 classes" in text and '<option value="cell_visible">cell_visible (2)</option>' in text
    pictures = re.findall(r'<img loading="lazy" decoding="async" src="([^"]+)" width="(\d+)" height="(\d+)"', text)
    assert len(pictures) == 5
    for name, width, height in pictures:
        strip = Image.open(tmp_path / "site" / name)
        assert strip.size == (int(width), int(height)) == (4 * (TILE + GAP) - GAP, TILE)
        assert all(np.asarray(strip)[:, place : place + TILE].std() > 5 for place in range(0, strip.width, TILE + GAP))
    assert sorted(p.name for p in (tmp_path / "site").rglob("*") if p.is_file()) == sorted(
        ["index.html", *(name.rsplit("/")[-1] for name, _, _ in pictures)]
    )


def test_the_same_dataset_gives_the_same_page(small_dataset, tmp_path):
    for name in ("one", "two"):
        write_site(small_dataset, tmp_path / name, images=2, seed=3)
    write_site(small_dataset, tmp_path / "other", images=2, seed=4)
    files = [{p.name: p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two", "other")]
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_a_strip_shows_the_images_as_they_are():
    images = [Image.fromarray(np.full((TILE, TILE), v, np.uint8)) for v in (7, 200)]
    strip = np.asarray(grid(images, 2, background=128))
    assert strip.shape == (TILE, 2 * TILE + GAP)
    assert (
        (strip[:, :TILE] == 7).all() and (strip[:, TILE : TILE + GAP] == 128).all() and (strip[:, -TILE:] == 200).all()
    )


def test_a_hostile_label_stays_text(hostile, tmp_path):
    write_site(hostile, tmp_path / "site", images=1)
    text = (tmp_path / "site" / "index.html").read_text()
    assert text.count("<script>") == 1 and "<img src=x" not in text and "{{ 7*7 }}" in text
    assert not re.findall(r"https?://|@import|url\(", text) and "default-src 'none'" in text


@pytest.mark.browser
def test_in_a_browser(hostile, chromium, tmp_path):
    page = tmp_path / "site" / "index.html"
    write_site(hostile, page.parent, images=6)

    def shown():
        return [a.find_element("css selector", "h2").text for a in chromium.find_elements("css selector", "article")
                if a.is_displayed()]  # fmt: skip

    def find(text):
        box = chromium.find_element("id", "words")
        box.clear()
        box.send_keys(text)
        return shown()

    chromium.get(page.as_uri())
    labels = sorted(["actin", "golgi/cell membrane", HOSTILE, "human", "taxol (10 µm)"])
    assert chromium.title == "CytoImageNet: classes" and not chromium.get_log("browser")
    assert shown() == labels
    chromium.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map((i) => (i.loading = 'eager', i.decode())))"
        ".then(done)"
    )
    assert (
        chromium.execute_script("return [...document.images].map((i) => i.naturalWidth)")
        == [6 * (TILE + GAP) - GAP] * 5
    )
    assert find("Taxol 10") == ["taxol (10 µm)"]
    assert chromium.find_element("id", "found").text == "1 of 5 classes"
    assert find("membrane golgi") == ["golgi/cell membrane"]
    assert find("<script>") == [HOSTILE]
    assert find("no such thing") == [] and chromium.find_element("id", "nothing").is_displayed()
    assert find("made_up") == labels  # the source counts too
    chromium.find_element("css selector", "#category option[value=cell_visible]").click()
    assert shown() == ["actin", "golgi/cell membrane"]
    assert find("actin") == ["actin"]

    # a phone: only the strips scroll sideways
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    chromium.get(page.as_uri())
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 360
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not chromium.get_log("browser")


@pytest.mark.browser
def test_the_order_can_be_chosen(tmp_path, small_curated, chromium):
    shutil.copytree(small_curated, tmp_path / "curated")
    rows = schema.read(tmp_path / "curated" / "rows.parquet", schema.CURATED)
    rows = rows[~((rows["label"] == "actin") & (rows.groupby("label").cumcount() < 30))].reset_index(drop=True)
    schema.write(rows, tmp_path / "curated" / "rows.parquet", schema.CURATED)
    write_dataset(tmp_path / "curated", tmp_path / "out")
    write_site(tmp_path / "out", tmp_path / "site", images=1)
    chromium.get((tmp_path / "site" / "index.html").as_uri())
    orders = {}
    for name in ("images", "fewest", "index"):
        chromium.find_element("css selector", f"#order option[value={name}]").click()
        orders[name] = [h.text for h in chromium.find_elements("css selector", "h2")]
    rest = ["golgi/cell membrane", "hela", "human", "taxol (10 µm)"]
    assert orders == {"images": [*rest, "actin"], "fewest": ["actin", *rest], "index": ["actin", *rest]}


def test_the_commands(small_dataset, tmp_path, monkeypatch, capsys):
    def typed(*words):
        monkeypatch.setattr(sys, "argv", ["cytoimagenet", *map(str, words)])
        app = console.application("0")
        dataset.add_to(app)
        with pytest.raises(SystemExit) as left:
            console.run(app)
        return left.value.code or 0, *capsys.readouterr()

    code, out, _ = typed("browse", small_dataset, "--out", tmp_path / "site", "--images", 2)
    assert code == 0 and f"Open {tmp_path}/site/index.html" in out
    code, _, err = typed("browse", tmp_path, "--out", tmp_path / "site")
    assert code == 2 and "no manifest.json" in err

    folder = shutil.copytree(small_dataset, tmp_path / "copy")
    before = Manifest.load(folder).data
    for name in ("README.md", "preview.png"):
        (folder / name).write_text("spoilt")
    (folder / "croissant.json").unlink()
    code, out, _ = typed("card", folder)
    assert code == 0 and "Wrote README.md, croissant.json, preview.png, LICENSE.md" in out
    assert Manifest.load(folder).data == before
    verify(folder)


def test_a_class_without_images_is_an_error_that_names_it(small_dataset, tmp_path):
    manifest = Manifest.load(small_dataset)
    empty = {"label": "nothing", "category": "gene", "train": 0, "validation": 0}
    with pytest.raises(CheckFailedError, match="The class 'nothing' has no image"):
        write_site(Manifest(manifest.root, {**manifest.data, "classes": [*manifest.classes, empty]}), tmp_path / "site")
    with pytest.raises(CheckFailedError, match="no image or no class"):
        body(Manifest(manifest.root, {**manifest.data, "classes": []}))
