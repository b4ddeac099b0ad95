"""The run folder: the table of epochs, the settings of older runs, and what is written when."""

from __future__ import annotations

import json
import math
import subprocess
import warnings

import pandas as pd
import pytest
from cytoimagenet.builder.errors import SettingsChangedError, UsageError
from cytoimagenet.training import run_folder
from cytoimagenet.training.efficientnet import build_b0
from cytoimagenet.training.recipes import settings, to_yaml

FACTS = {"digest": "d" * 64, "data_dir": "cytoimagenet"}
LOG = [
    {"loss": 2.0, "step": 5},
    {"epoch": 1.0, "step": 8, "rate": 0.002, "train_loss": 1.5, "train_accuracy": 0.4},
    {
        "epoch": 1.0,
        "step": 8,
        "eval_loss": 1.25,
        "eval_accuracy": 0.5,
        "eval_accuracy_any_label": 0.75,
        "eval_top7": 1.0,
    },
    {"epoch": 2.0, "step": 16, "rate": 0.001, "train_loss": 1.0, "train_accuracy": 0.6},
    {"epoch": 2.0, "step": 16, "train_runtime": 3.0},
]


def test_one_row_per_epoch():
    table = run_folder.history(LOG)
    assert table.columns.tolist() == [
        "epoch", "step", "learning_rate", "train_loss", "train_accuracy",
        "validation_loss", "validation_accuracy", "validation_accuracy_any_label", "validation_top7",
    ]  # fmt: skip
    assert table.iloc[0].tolist() == [1, 8, 0.002, 1.5, 0.4, 1.25, 0.5, 0.75, 1.0]
    assert table.iloc[1].tolist()[:5] == [2, 16, 0.001, 1.0, 0.6]
    assert table.iloc[1, 5:].isna().all(), "the second epoch was not evaluated"


def test_few_classes_have_no_top_seven():
    validation = {name: value for name, value in LOG[2].items() if name != "eval_top7"}
    row = run_folder.history([LOG[1], validation]).iloc[0]
    assert row["validation_accuracy"] == 0.5 and math.isnan(row["validation_top7"])


def test_an_epoch_logged_twice_has_one_row_with_the_later_numbers():
    """A run resumed from a checkpoint within an epoch logs that epoch again."""
    again = {**LOG[3], "train_loss": 0.9}
    table = run_folder.history([*LOG, again])
    assert table["epoch"].tolist() == [1, 2]
    assert table["train_loss"].tolist() == [1.5, 0.9]


def test_a_log_without_epochs_gives_an_empty_table_with_all_columns():
    table = run_folder.history([{"loss": 2.0, "step": 5}])
    assert len(table) == 0
    assert "validation_top7" in table.columns


def test_tables_have_six_digits_and_empty_cells(tmp_path):
    run_folder.write_table(tmp_path / "t.csv", pd.DataFrame({"a": [1 / 3, math.nan], "b": ["x", "y"]}))
    assert (tmp_path / "t.csv").read_text() == "a,b\n0.333333,x\n,y\n"
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


def test_a_new_folder_is_claimed_and_found_again(tmp_path):
    chosen = settings("quick", seed=3)
    assert run_folder.claim(tmp_path / "run", chosen, FACTS) == {**FACTS, "finished": False}
    assert run_folder.stored_settings(tmp_path / "run") == chosen
    assert run_folder.claim(tmp_path / "run", chosen, FACTS) == {**FACTS, "finished": False}


def test_settings_that_do_not_change_the_weights_may_differ(tmp_path):
    run_folder.claim(tmp_path / "run", settings("quick"), FACTS)
    other = settings("quick", workers=7, cache_dir="/scratch", evaluate_every=2, save_every=5)
    assert not run_folder.claim(tmp_path / "run", other, FACTS)["finished"]


@pytest.mark.parametrize("changes", [{"seed": 1}, {"loader": "cache"}, {"database": "Kaggle"}])
def test_other_settings_are_refused(tmp_path, changes):
    run_folder.claim(tmp_path / "run", settings("quick"), FACTS)
    with pytest.raises(SettingsChangedError, match=next(iter(changes))):
        run_folder.claim(tmp_path / "run", settings("quick", **changes), FACTS)


def test_another_dataset_is_refused(tmp_path):
    run_folder.claim(tmp_path / "run", settings("quick"), FACTS)
    with pytest.raises(SettingsChangedError, match="dataset"):
        run_folder.claim(tmp_path / "run", settings("quick"), {**FACTS, "digest": "e" * 64})


def test_another_audit_is_refused(tmp_path):
    clean, facts = settings("quick", quality="clean"), {**FACTS, "audit": "a" * 64}
    run_folder.claim(tmp_path / "run", clean, facts)
    assert run_folder.claim(tmp_path / "run", clean, facts)["audit"] == "a" * 64
    with pytest.raises(SettingsChangedError, match="audit"):
        run_folder.claim(tmp_path / "run", clean, {**facts, "audit": "b" * 64})
    with pytest.raises(SettingsChangedError, match="quality"):
        run_folder.claim(tmp_path / "run", settings("quick"), {**facts, "audit": ""})


def test_a_run_of_an_earlier_version_has_no_audit(tmp_path):
    run_folder.claim(tmp_path / "run", settings("quick"), FACTS)
    assert run_folder.claim(tmp_path / "run", settings("quick"), {**FACTS, "audit": ""})["digest"] == FACTS["digest"]


def test_training_reads_the_images_that_the_settings_name(tmp_path, monkeypatch):
    from cytoimagenet.training import train as module

    asked = {}

    def read_index(data_dir, split, **subset):
        asked.update(subset)
        raise UsageError("enough")

    monkeypatch.setattr(module, "read_index", read_index)
    with pytest.raises(UsageError, match="enough"):
        module.train(tmp_path, recipe="quick", quality="clean", category="gene")
    assert asked == {"category": "gene", "labels": None, "database": None, "quality": "clean", "alternatives": True}


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError):
        run_folder.claim(tmp_path, settings("quick"), FACTS)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_settings_of_an_older_run_are_read_without_a_warning(tmp_path):
    """Runs of version 0.1.0 call the setting `database` `source`."""
    old = to_yaml(settings("quick", database="Kaggle")).replace("database:", "source:")
    assert "source: Kaggle" in old
    (tmp_path / "settings.yaml").write_text(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stored = run_folder.stored_settings(tmp_path)
    assert stored == settings("quick", database="Kaggle")
    assert run_folder.stored_settings(tmp_path / "nowhere") is None


def test_a_finished_run_has_no_checkpoints(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "optimizer.pt").write_bytes(b"moments")
    run_folder.mark_finished(tmp_path, FACTS)
    assert json.loads((tmp_path / "run.json").read_text()) == {**FACTS, "finished": True}
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_saved_model_leaves_no_temporary_files(tmp_path):
    model = build_b0(["a", "b"], seed=0, width_coefficient=0.25, depth_coefficient=0.1, hidden_dim=64)
    run_folder.save_model(tmp_path, model, ((0.1, 0.2, 0.3), (1.0, 2.0, 4.0)), size=32)
    assert {file.name for file in tmp_path.iterdir()} == set(run_folder.MODEL_FILES)
    processor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (processor["image_mean"], processor["size"]) == ([0.1, 0.2, 0.3], {"height": 32, "width": 32})


def test_the_commit_is_that_of_the_checkout(checkout):
    head = subprocess.run(["git", "-C", checkout, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert run_folder.git_revision().removesuffix("-dirty") == head.stdout.strip()
