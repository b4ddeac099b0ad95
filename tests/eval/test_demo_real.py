"""The real cells of the demo: which are chosen, and what the report shows."""

from __future__ import annotations

import json
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.image_table.table import read_image_table
from cytoimagenet.eval import demo_real
from cytoimagenet.eval.demo_real import find_real, sample, score_real, section
from cytoimagenet.eval.evaluate import evaluate


@pytest.fixture
def nuclei(tmp_path, rng):
    """A zip of 24 images of 3 labels from 6 movies, in the place where the demo looks."""
    path = tmp_path / "real" / "tasks" / "mitocheck.zip"
    path.parent.mkdir(parents=True)
    table = pd.DataFrame({"file": [f"{n:02}.png" for n in range(24)], "label": list("abc") * 8})
    table["group"] = [f"movie{n // 4}" for n in range(24)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.csv", table.to_csv(index=False))
        for name in table["file"]:
            archive.writestr(name, cv2.imencode(".png", rng.integers(0, 255, (20, 20), np.uint8))[1].tobytes())
    return path


def test_the_folder_is_the_one_given_or_the_usual_one_or_none(nuclei, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_real(None) is None
    assert find_real(tmp_path / "real") == nuclei
    monkeypatch.setattr(demo_real, "FOLDER", tmp_path / "real")
    assert find_real(None) == nuclei
    with pytest.raises(UsageError, match=r"mitocheck\.zip"):
        find_real(tmp_path / "elsewhere")


def test_a_part_is_chosen_at_random_and_keeps_its_order(nuclei):
    table = read_image_table(nuclei)
    part = sample(table, 10, seed=0)
    assert len(part.rows) == 10
    assert list(part.rows["id"]) == sorted(part.rows["id"])
    assert part.rows.equals(sample(table, 10, seed=0).rows)
    assert not part.rows.equals(sample(table, 10, seed=1).rows)
    assert sample(table, 24, seed=0).rows.equals(table.rows)


def test_the_table_has_the_mean_of_the_random_networks(nuclei):
    table = read_image_table(nuclei)
    keys = table.rows[["id", "label", "group"]]
    codes = pd.factorize(keys["label"])[0].astype(float)
    shift = np.arange(24) % 2
    columns = {"imagenet": codes, "random:0": codes, "random:1": np.sin(np.arange(24)), "random:2": shift.astype(float)}
    results = [evaluate(None, keys.assign(f=values), model=name, probe=False) for name, values in columns.items()]
    (shown,) = section(results, table).tables
    assert [row[0] for row in shown.rows] == [demo_real.NAMES[name] for name in ("imagenet", "random")]
    assert shown.rows[0][1].text == "100.0 %"
    assert shown.rows[1][1].sort == pytest.approx(np.mean([float(r.scores["knn"]) for r in results[1:]]))
    assert (
        "24 nuclei of HeLa cells, from 6 movies of the MitoCheck screen, show 3 phenotypes"
        in (section(results, table).text[0])
    )


def test_three_kinds_of_features_are_scored(nuclei, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_real, "INPUT_SIDE", 32)
    shown = score_real(nuclei, tmp_path / "out", seed=0)
    assert [row[0] for row in shown.tables[0].rows] == [*demo_real.NAMES.values()]
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {entry["n"] for entry in document["results"] if entry["score"] == "knn"} == {24}
    assert len([entry for entry in document["results"] if entry["score"] == "knn"]) == 5
