"""The commands: help with examples, wrong options refused before anything is read, the former name of --database."""

from __future__ import annotations

import json

import pytest
import typer
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training import train as train_module
from cytoimagenet.training.commands import _labels, add_to
from cytoimagenet.training.train import Run
from typer.testing import CliRunner


@pytest.fixture
def app():
    made = typer.Typer()
    add_to(made)
    return made


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """The settings with which the command called `train`, which is not run."""
    calls = []

    def instead(data_dir, out, **settings):
        calls.append(settings)
        return Run(tmp_path / "run", {"train_loss": 1.25}, 270, 5, 64)

    monkeypatch.setattr(train_module, "train", instead)
    return calls


@pytest.mark.parametrize("command", ["train", "convert-weights", "push-model"])
def test_help_has_examples(app, command):
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"cytoimagenet {command}" in result.output


@pytest.mark.parametrize("options", [["--set", "colour=red"], ["--epochs", "0"], ["--recipe", "best"]])
def test_wrong_options_are_refused(app, tmp_path, options):
    result = CliRunner().invoke(app, ["train", str(tmp_path), "--out", str(tmp_path / "run"), *options])
    assert isinstance(result.exception, UsageError)
    assert not (tmp_path / "run").exists()


def test_labels_are_a_subset_by_name_or_a_list():
    assert _labels(["toy20"]) == "toy20"
    assert _labels(["mitotic, early", "hela"]) == ["mitotic, early", "hela"]
    assert _labels([]) is None


def test_database_is_passed_on_without_a_note(app, trained):
    result = CliRunner().invoke(app, ["train", "data", "--database", "Kaggle", "--json"])
    assert trained == [{"recipe": "quick", "resume": False, "database": "Kaggle"}]
    assert result.stderr == ""
    assert json.loads(result.stdout)["metrics"] == {"train_loss": 1.25}


@pytest.mark.parametrize("options", [["--source", "Kaggle"], ["--set", "source=Kaggle"]])
def test_the_former_name_source_still_works_with_a_note(app, trained, options):
    result = CliRunner().invoke(app, ["train", "data", *options, "--json"])
    assert trained == [{"recipe": "quick", "resume": False, "database": "Kaggle"}]
    assert "--source is now called --database" in result.stderr
    assert json.loads(result.stdout)["metrics"] == {"train_loss": 1.25}, "the note does not disturb --json"


@pytest.mark.parametrize("new", [["--database", "Recursion"], ["--set", "database=Recursion"]])
@pytest.mark.parametrize("old", [["--source", "Kaggle"], ["--set", "source=Kaggle"]])
def test_both_names_together_are_refused(app, trained, old, new):
    result = CliRunner().invoke(app, ["train", "data", *new, *old])
    assert isinstance(result.exception, UsageError)
    assert trained == []


def test_the_former_name_is_not_in_the_help(app):
    output = CliRunner().invoke(app, ["train", "--help"]).output
    assert "--database" in output
    assert "--source" not in output
