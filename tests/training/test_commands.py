"""The commands: help with examples, wrong words refused before anything is read."""

from __future__ import annotations

import pytest
import typer
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training.commands import _labels, add_to
from typer.testing import CliRunner


@pytest.fixture
def app():
    made = typer.Typer()
    add_to(made)
    return made


@pytest.mark.parametrize("command", ["train", "convert-weights"])
def test_help_has_examples(app, command):
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert f"cytoimagenet {command}" in told.output


@pytest.mark.parametrize("words", [["--set", "colour=red"], ["--epochs", "0"], ["--recipe", "best"]])
def test_wrong_words_are_refused(app, tmp_path, words):
    told = CliRunner().invoke(app, ["train", str(tmp_path), "--out", str(tmp_path / "run"), *words])
    assert isinstance(told.exception, UsageError)
    assert not (tmp_path / "run").exists()


def test_labels_are_a_subset_by_name_or_a_list():
    assert _labels(["toy20"]) == "toy20"
    assert _labels(["mitotic, early", "hela"]) == ["mitotic, early", "hela"]
    assert _labels([]) is None
