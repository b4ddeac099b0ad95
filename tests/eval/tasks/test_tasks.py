"""The tasks are records, and a task of one's own is treated like them."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.explore.maps import map_of_table
from cytoimagenet.eval.protocols import cyclops
from cytoimagenet.eval.protocols.settings import EvaluationSettings
from cytoimagenet.eval.report.summary import show
from cytoimagenet.eval.results import document
from cytoimagenet.eval.results.score import NAMES
from cytoimagenet.eval.run import finish, task_roots
from cytoimagenet.eval.run_tables import score_tables
from cytoimagenet.eval.scores.standardise import STANDARDISATIONS
from cytoimagenet.eval.sets.samples import Samples
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops
from cytoimagenet.eval.tables.align import align_cells
from cytoimagenet.eval.tasks.record import MODEL_KINDS, Task
from cytoimagenet.eval.tasks.registry import TASKS, find


def test_the_three_tasks():
    assert list(TASKS) == ["bbbc021", "coos7", "cyclops"]
    assert {name: task.network_standardisation for name, task in TASKS.items()} == {
        **{"bbbc021": "all", "coos7": "train", "cyclops": "all"},
    }
    assert {name: task.headline for name, task in TASKS.items()} == {"bbbc021": "nsc", "coos7": "knn", "cyclops": "knn"}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_record_is_consistent(task):
    fields = {field.name for field in dataclasses.fields(EvaluationSettings)}
    assert set(task.options) <= fields
    assert task.network_standardisation in task.standardisations
    assert set(task.standardisations) <= set(STANDARDISATIONS)
    assert task.headline in NAMES and {score for score, _ in task.best} <= set(NAMES)
    splits = {split for split, _ in task.published}
    assert set(task.published) == {(split, kind) for split in splits for kind in MODEL_KINDS}
    assert "put them" in task.how_to_get or "unpack them" in task.how_to_get


def test_a_task_is_found_by_name():
    assert find("coos7") is TASKS["coos7"] is find(TASKS["coos7"])
    with pytest.raises(UsageError, match="There is no task 'bbbc022'") as caught:
        find("bbbc022")
    assert caught.value.next == "The tasks are bbbc021, coos7, cyclops"


def test_the_standardisation_is_the_chosen_one_or_the_default():
    task = TASKS["coos7"]
    assert task.resolve(EvaluationSettings()).standardise == "none"
    assert task.resolve(EvaluationSettings(seed=7), "train") == EvaluationSettings(standardise="train", seed=7)
    assert task.resolve(EvaluationSettings(standardise="all"), "train").standardise == "all"
    with pytest.raises(UsageError, match="--standardise tvn does not exist for coos7") as caught:
        task.resolve(EvaluationSettings(standardise="tvn"))
    assert caught.value.next == "Use one of train, none, all"


def test_every_task_reads_a_folder_with_the_same_arguments(tmp_path):
    simulate_bbbc021(tmp_path / "bbbc021", shape=(16, 20), sites=1)
    simulate_coos7(tmp_path / "coos7", train=1, test=1)
    simulate_cyclops(tmp_path / "cyclops", cells=4)
    roots, missing = task_roots(tmp_path, [*TASKS.values()])
    assert [task.name for task in roots] == list(TASKS) and missing == []
    for task, root in roots.items():
        samples = task.read(root, EvaluationSettings())
        assert samples.task == task.name and samples.load(0).shape == (len(samples.channels), *samples.shape)
        assert task.read(root, EvaluationSettings(), images=False).ids == samples.ids
    shifted = TASKS["cyclops"].read(tmp_path / "cyclops", EvaluationSettings(cyclops_labels="published"))
    assert "cells of VACUOLE" in shifted.left_out


def own_task(table):
    def read(root, settings, *, images=True):
        return Samples("mine", root, table[["id", "label"]].assign(split=""), ("grey",), (8, 8))

    return Task(
        name="mine",
        title="My cells",
        unit="wells",
        how_to_get="Ask me",
        read=read,
        align=partial(align_cells, task="mine"),
        score=cyclops.score,
        standardisations=("none", "all"),
        network_standardisation="all",
        options=("ties",),
    )


def test_a_task_of_ones_own_from_table_to_report(tmp_path, capsys, monkeypatch):
    table = pd.DataFrame({"id": [f"c{i}" for i in range(24)], "label": np.repeat(["a", "b"], 12)})
    features = table[["id"]].assign(f=np.repeat([0.0, 9.0], 12))
    features.to_csv(tmp_path / "features.csv", index=False)
    task = own_task(table)
    result = evaluate(task, features, tmp_path, probe=False)
    assert (result.scores["knn"].correct, result.scores["knn"].settings["ties"]) == (24, "nearest")
    assert set(result.scores["knn"].settings) >= {"standardise", "ties", "seed"}
    assert "taxol" not in result.scores["knn"].settings
    with pytest.raises(UsageError, match="--standardise train does not exist for mine"):
        evaluate(task, features, tmp_path, standardise="train")
    settings = EvaluationSettings(probe=False)
    run = score_tables({"features": tmp_path / "features.csv"}, task, tmp_path, tmp_path / "results", settings)
    written = finish(run)
    assert {entry["task"] for entry in document.read(tmp_path / "results")["results"]} == {"mine"}
    page = (tmp_path / "results" / "report.html").read_text()
    assert "<h2>Details: My cells</h2>" in page and "24 wells" in page
    show(run.done, written, tmp_path / "results", run.tasks)
    assert "mine knn of features" in capsys.readouterr().out
    monkeypatch.setattr("cytoimagenet.eval.explore.maps.project", lambda values, seed=0: np.zeros((len(values), 2)))
    assert map_of_table(tmp_path / "features.csv", tmp_path, task=task)["label"].tolist() == table["label"].tolist()
