"""The command images as a user types it."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder import console
from cytoimagenet.builder.commands import images
from PIL import Image


@pytest.fixture
def typed(monkeypatch, capsys):
    """Type a command; get its exit code, standard output and standard error."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["cytoimagenet", *map(str, words)])
        app = console.application("0")
        images.add_to(app)
        app.command("other")(lambda: None)  # an application of one command takes no name
        with pytest.raises(SystemExit) as left:
            console.run(app)
        printed = capsys.readouterr()
        return left.value.code or 0, printed.out, printed.err

    return run


@pytest.fixture
def cells(tmp_path):
    root = tmp_path / "cells"
    root.mkdir()
    for name in ("a", "b", "c"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(root / f"{name}.png")
    (root / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = [
        ("a.png", "x", "d1"),
        ("b.png", "x", "d2"),
        ("c.png", "y", "d2"),
        ("bad.png", "y", "d1"),
        ("no.png", "", ""),
    ]
    pd.DataFrame(rows, columns=["file", "label", "group"]).to_csv(root / "images.csv", index=False)
    return root


def test_images(typed, cells):
    code, out, err = typed("images", cells)
    assert code == 0
    for line in (
        "ImageTable cells: 3 samples of 1 channel",
        "labels    2: x 2, y 1",
        "groups    2: d2 2, d1 1",
        "rejected  2 of 5: missing_channel 1, unreadable 1",
        "label is empty in 1 of 5 rows",
        "sizes     8x8 (3)",
        "types     uint8 (3)",
        "Wrote cells.montage.png",
    ):
        assert line in out
    assert "2 samples can't be used: cells.montage.rejected.csv" in err
    listed = pd.read_csv("cells.montage.rejected.csv")
    assert listed[["id", "reason"]].to_numpy().tolist() == [["no.png", "missing_channel"], ["bad.png", "unreadable"]]
    assert listed["detail"][0] == "line 6, column file: there is no such file"
    with Image.open("cells.montage.png") as picture:
        assert picture.mode == "RGB" and picture.height > 200


def test_images_json_and_strict(typed, cells):
    code, out, _ = typed("images", cells / "images.csv", "--out", "m.png", "--json")
    found = json.loads(out)
    assert (code, found["samples"], found["offered"], found["labels"]) == (0, 3, 5, {"x": 2, "y": 1})
    assert found["rejected"] == {"missing_channel": 1, "unreadable": 1} and found["sizes"] == {"8x8": 3}
    assert found["rejected_csv"] == "m.rejected.csv"
    code, _, err = typed("images", cells, "--strict")
    assert code == 1 and "Only 4 of 5 samples" in err and "no.png" in err
    (cells / "images.csv").write_text("file\na.png\n")
    code, out, _ = typed("images", cells, "--out", "m.png")
    assert code == 0 and not pd.io.common.file_exists("m.rejected.csv")
    code, _, err = typed("images", cells, "--pattern", "opra")
    assert code == 2 and "no named group" in err and "phenix" in err
