"""shard, verify, info and preview as a user types them: output, files and exit codes."""

import json
import os
import shutil
import sys

import datasets
import numpy as np
import pytest
import yaml
from cytoimagenet.builder import console, schema
from cytoimagenet.builder.commands import dataset
from cytoimagenet.builder.commands import options as dataset_options
from cytoimagenet.builder.dataset.describe import size
from cytoimagenet.builder.dataset.manifest import Manifest, record_pages
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.images.contact_sheet import GAP, NAME_WIDTH, TILE
from cytoimagenet.builder.pages.card import size_category
from cytoimagenet.builder.pages.preview import montage
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from PIL import Image


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command; get its exit code, standard output and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cytoimagenet", *map(str, words)])
        app = console.application("0")
        dataset.add_to(app)
        with pytest.raises(SystemExit) as left:
            console.run(app)
        printed = capsys.readouterr()
        return left.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def copy(small_dataset, tmp_path):
    shutil.copytree(small_dataset, tmp_path / "copy")
    return tmp_path / "copy"


def test_shard(typed, small_curated, small_dataset, tmp_path):
    code, out, _ = typed("shard", small_curated, "--out", tmp_path / "out")
    assert code == 0
    assert "300 images of 5 classes" in out and "Next: cytoimagenet verify" in out
    assert Manifest.load(tmp_path / "out").data == Manifest.load(small_dataset).data
    code, out, _ = typed("shard", small_curated, "--out", tmp_path / "p", "--format", "parquet", "--seed", 3, "--json")
    printed = json.loads(out)
    assert (code, printed["splits"]["train"]["rows"], printed["counts"]["rejected"]) == (0, 270, 3)
    code, _, err = typed("shard", small_curated, "--out", tmp_path / "out", "--seed", 9)
    assert code == 2 and "made with other settings: seed" in err and "Next:" in err
    code, _, err = typed("shard", small_curated, "--out", tmp_path / "x", "--shard-size", "many")
    assert code == 2 and "'many' is not a size" in err
    code, _, err = typed("shard", tmp_path / "none", "--out", tmp_path / "x")
    assert code == 2 and "curated.json" in err


def test_verify(typed, copy):
    code, out, _ = typed("verify", copy)
    assert code == 0 and "is complete and undamaged: 300 images, 17 files" in out
    code, out, _ = typed("verify", copy, "--json")
    assert code == 0 and json.loads(out)["ok"] is True
    shard = copy / "data" / "train-00004-of-00008.tar"
    data = bytearray(shard.read_bytes())
    data[777] ^= 1
    shard.write_bytes(data)
    code, _, err = typed("verify", copy)
    assert code == 1 and "data/train-00004-of-00008.tar: sha256 differs" in err and "Traceback" not in err
    code, out, _ = typed("verify", copy, "--json")
    printed = json.loads(out)
    assert code == 1 and printed["ok"] is False and "train-00004" in printed["problems"][0]
    code, _, err = typed("verify", copy / "none")
    assert code == 1 and "manifest.json" in err


def test_info(typed, small_dataset):
    code, out, _ = typed("info", small_dataset)
    assert code == 0
    assert out.strip() == repr(Manifest.load(small_dataset))
    code, out, _ = typed("info", small_dataset, "--json")
    assert code == 0 and json.loads(out) == Manifest.load(small_dataset).data
    code, _, err = typed("info", small_dataset.parent)
    assert code == 2 and "no manifest.json" in err


def test_info_of_many_classes_names_a_dozen_or_all(typed, tmp_path):
    curated = write_curated(tmp_path / "curated", classes=20, images=2)
    typed("shard", curated, "--out", tmp_path / "out")
    _, out, _ = typed("info", tmp_path / "out")
    assert "... and 8 more" in out and "compound-011" not in out
    _, out, _ = typed("info", tmp_path / "out", "--classes")
    assert "more" not in out and all(f"compound-{n:03d}" in out for n in range(12))


def test_preview(typed, small_dataset, tmp_path):
    code, out, _ = typed("preview", small_dataset, "--out", tmp_path / "m.png", "--images", 4)
    assert code == 0 and "Wrote" in out
    sheet = Image.open(tmp_path / "m.png")
    step = TILE + GAP
    assert sheet.size == (NAME_WIDTH + 4 * step + GAP, 5 * step + GAP)
    pixels = np.asarray(sheet)
    for line in range(5):
        assert (pixels[line * step : (line + 1) * step, :NAME_WIDTH] < 100).any(), "a name is written"
        for column in range(4):
            left = NAME_WIDTH + column * step
            assert pixels[GAP + line * step :, left:][:TILE, :TILE].std() > 10, "an image is there"
    typed("preview", small_dataset, "--out", tmp_path / "again.png", "--images", 4)
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    typed("preview", small_dataset, "--out", tmp_path / "two.png", "--label", "hela", "--label", "actin")
    assert Image.open(tmp_path / "two.png").height == 2 * step + GAP
    code, _, err = typed("preview", small_dataset, "--label", "hella", "--out", tmp_path / "x.png")
    assert code == 2 and "No class 'hella'" in err


def test_a_montage_of_awkward_names_and_few_images(tmp_path, typed):
    curated = write_curated(tmp_path / "curated", classes=30, images=2, sides=(1, 300))
    typed("shard", curated, "--out", tmp_path / "out")
    sheet = montage(tmp_path / "out", classes=7, images=5, seed=1)
    assert sheet.height == 7 * (TILE + GAP) + GAP


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("128MB", 128_000_000), ("64MiB", 64 * 2**20), ("1.5 gb", 1_500_000_000), ("1000", 1000), ("2K", 2000)],
)
def test_sizes(text, wanted):
    assert dataset_options.parse_size(text) == wanted


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "0", "12 parsecs", "1e9"])
def test_what_is_no_size(text):
    with pytest.raises(UsageError):
        dataset_options.parse_size(text)


def test_sizes_as_people_write_them():
    assert [size(n) for n in (0, 999, 1_820_000, 999_600, 56e9, 3e15)] == [
        "0 bytes",
        "999 bytes",
        "1.82 MB",
        "1,000 kB",
        "56 GB",
        "3,000 TB",
    ]


def test_the_card_has_the_numbers_of_the_manifest(small_dataset):
    manifest = Manifest.load(small_dataset)
    text = (small_dataset / "README.md").read_text()
    header = yaml.safe_load(text.split("---\n")[1])
    assert "&id" not in text.split("---\n")[1]
    assert [config["config_name"] for config in header["configs"]] == ["default", "sample"]
    assert header["size_categories"] == ["n<1K"]
    infos = {entry["config_name"]: entry for entry in header["dataset_info"]}
    for name, splits in (("default", {"train": 270, "validation": 30}), ("sample", {"train": 50})):
        assert {s["name"]: s["num_examples"] for s in infos[name]["splits"]} == splits
        png, cls, row = infos[name]["features"]
        assert (png["name"], cls["name"], row["name"]) == ("png", "cls", "json")
        assert list(cls["dtype"]["class_label"]["names"].values()) == list(manifest.class_names)
    assert manifest.digest in text
    for split in ("train", "validation", "sample"):
        assert f"| {split} | {manifest.rows(split):,} |" in text


def test_labels_that_look_like_yaml_stay_text(small_curated, tmp_path):
    folder = tmp_path / "curated"
    shutil.copytree(small_curated, folder)
    rows = schema.read(folder / "rows.parquet", schema.CURATED)
    odd = ["no", "1", "null", "- a: b # c", "'\"{}\n<script>"]
    rows["label"] = rows["label"].map(dict(zip(sorted(set(rows["label"])), odd, strict=True)))
    schema.write(rows, folder / "rows.parquet", schema.CURATED)
    write_dataset(folder, tmp_path / "out")
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="validation")
    assert loaded.features["label"].names == sorted(odd)


@pytest.mark.parametrize(
    ("images", "wanted"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (890_737, "100K<n<1M"), (5e8, "100M<n<1B"), (5e9, "100M<n<1B")],
)
def test_the_hubs_size_categories(images, wanted):
    assert size_category(images) == wanted


def test_pages_can_be_rewritten_and_the_digest_stays(copy):
    before = Manifest.load(copy)
    (copy / "README.md").write_text("other")
    (copy / "preview.png").write_bytes(b"png")
    after = record_pages(before)
    assert after.digest == before.digest
    assert set(after.pages) == {"README.md", "croissant.json", "preview.png", "LICENSE.md"}
    assert Manifest.load(copy).data == after.data


def test_brackets_in_the_name_of_a_folder_are_no_markup(typed, small_dataset, tmp_path):
    for name in ("[a]", "[", "a]", "[bold]x"):
        os.symlink(small_dataset, tmp_path / name)
        code, printed, _ = typed("verify", tmp_path / name)
        assert code == 0
        assert printed.startswith(f"{tmp_path}/{name} is complete and undamaged")
    code, _, printed = typed("verify", tmp_path / "[" / "a]")
    assert code != 0 and "a]" in printed


@pytest.mark.parametrize("command", ["info", "preview"])
def test_labels_with_escapes_are_printed_as_text(typed, small_curated, tmp_path, command):
    shutil.copytree(small_curated, tmp_path / "curated")
    rows = schema.read(tmp_path / "curated" / "rows.parquet", schema.CURATED)
    rows["label"] = rows["label"].where(rows["label"] != "hela", "\x1b]0;owned\x07" + "µ" * 100_000)
    schema.write(rows, tmp_path / "curated" / "rows.parquet", schema.CURATED)
    code, _, printed = typed("shard", tmp_path / "curated", "--out", tmp_path / "out")  # and does not take minutes
    assert (code, printed) == (0, "")
    code, printed, _ = typed(command, tmp_path / "out")
    assert code == 0 and "\x1b" not in printed
    if command == "info":
        assert r"\x1b]0;owned\x07" in printed
    assert "\x1b" not in (tmp_path / "out" / "README.md").read_text()


def test_a_path_that_is_not_utf_8_is_refused(typed, small_curated, tmp_path):
    out = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    code, _, printed = typed("shard", small_curated, "--out", out)
    assert code == UsageError.exit_code
    assert r"\udcff is not valid UTF-8" in printed and "Traceback" not in printed
