"""benchmarks/real.py: its table contains what was scored, and its trainings are those that were asked for."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

PATH = Path(__file__).resolve().parents[1] / "benchmarks/real.py"


@pytest.fixture(scope="module")
def real():
    spec = importlib.util.spec_from_file_location("real_benchmark", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["real_benchmark"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["real_benchmark"]


def predictions(right, groups):
    return pd.DataFrame({"label": "a", "predicted": np.where(right, "a", "b"), "group": groups})


def asked(**changes):
    given = {"size": 64, "epochs": 14, "batch": 256, "seeds": 2, "recipes": ["modern"], "variants": None}
    return argparse.Namespace(**{**given, **changes})


def test_differences_are_between_means_over_seeds_on_the_same_samples(real):
    groups = np.repeat(["m1", "m2", "m3", "m4"], 5)
    right = np.zeros((3, 20), bool)
    right[0, :10] = right[1, :14] = right[2, :18] = True
    found = {name: predictions(row, groups) for name, row in zip(("imagenet", "a-0", "a-1"), right, strict=True)}
    names = {"imagenet": ["imagenet"], "a": ["a-0", "a-1"]}
    table = real.compare(found, names, ["imagenet"])
    assert table["value"].to_dict() == pytest.approx({"imagenet": 0.5, "a": 0.8})
    row = table.loc["a"]
    assert row["imagenet difference"] == pytest.approx(0.3) and row["imagenet low"] <= 0.3 <= row["imagenet high"]
    # the sums over the movies are 0, 0, 4.5 and 1.5: of the four signs of the last two, two give as large a difference
    assert row["imagenet p"] == pytest.approx(2 / 4)
    assert np.isnan(table.loc["imagenet", "imagenet difference"])


def test_p_values_are_corrected_over_tasks_and_sizes_without_the_control(real):
    table = pd.DataFrame({"imagenet p": [0.01, 0.04, np.nan, 0.5]}, index=["a", "b", "imagenet", "mean-intensity"])
    other = pd.DataFrame({"imagenet p": [0.02, 0.5, np.nan, 0.5]}, index=["a", "b", "imagenet", "mean-intensity"])
    real.correct_p_values({64: {"mitocheck": table}, 128: {"mitocheck": other}}, ["imagenet"])
    assert table["imagenet p_holm"].tolist()[:2] == pytest.approx([0.04, 0.08])
    assert other["imagenet p_holm"].tolist()[:2] == pytest.approx([0.06, 0.5])
    assert table["imagenet p_holm"].isna().tolist() == [False, False, True, True]


def test_the_table_in_markdown(real):
    table = pd.DataFrame(
        {
            "value": [0.5, 0.605], "low": [0.4, 0.55], "high": [0.6, 0.66],
            "imagenet difference": [np.nan, 0.105], "imagenet low": [np.nan, 0.02], "imagenet high": [np.nan, 0.2],
            "imagenet p_holm": [np.nan, 0.049],
        },
        index=["imagenet", "adapt"],
    )  # fmt: skip
    lines = real.markdown({"mitocheck": table}, {"adapt": 0.572}, "imagenet").splitlines()
    assert lines[0] == "| features | MitoCheck | minus ImageNet | mean of the tasks | validation accuracy |"
    assert lines[2:] == [
        "| ImageNet | 50.0 [40, 60] |  | 50.0 |  |",
        "| adapt | 60.5 [55, 66] | +10.5 [+2.0, +20.0]* | 60.5 | 57.2 |",
    ]
    table.loc["adapt", "imagenet p_holm"] = 0.051
    assert "[+2.0, +20.0] |" in real.markdown({"mitocheck": table}, {}, "imagenet")


def test_trainings_have_folders_without_commas_and_variants_their_base(real):
    named = real.trainings(asked(recipes=[], variants=["crop, blur and noise", "no mixup"]))
    assert [(one.name, one.seed) for one in named] == [
        (name, seed) for seed in (0, 1) for name in ("adapt", "crop, blur and noise", "no mixup")
    ]
    assert {one.recipe for one in named} == {"adapt"} and named[2].changes == {"mixup": 0.0}
    assert [one.folder for one in named[:2]] == ["adapt-0", "crop-blur-and-noise-0"]
    assert len(real.trainings(asked(variants=[], seeds=1))) == 1 + 1 + len(real.VARIANTS)


def test_larger_images_at_the_end_see_as_many_images(real):
    one = real.Training("larger images at the end", "adapt", 0, {})
    folder = Path("runs/larger-0")
    before, last = real.stages(one, folder, asked())
    assert before == (Path("runs/larger-0-before"), ["--size", "64", "--epochs", "12"])
    assert last == (folder, ["--size", "128", "--epochs", "2", "--model", "runs/larger-0-before"])
    (only,) = real.stages(real.Training("adapt", "adapt", 0, {}), folder, asked())
    assert only == (folder, ["--size", "64", "--epochs", "14"])
    with pytest.raises(SystemExit, match="at least two --epochs"):
        real.stages(one, folder, asked(epochs=1))


def test_every_variant_is_in_the_documents_and_has_settings_that_exist(real):
    from cytoimagenet.training.recipes import settings

    text = (PATH.parents[1] / "docs/benchmarks/real.md").read_text("utf-8")
    for name, changes in real.VARIANTS.items():
        assert name in text, name
        settings("adapt", **changes)
    assert json.loads(json.dumps(real.VARIANTS)) == real.VARIANTS
