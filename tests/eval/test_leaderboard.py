"""Scores in the form that the Hub documents: https://huggingface.co/docs/hub/eval-results, read in 2026."""

import pytest
import yaml
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval import leaderboard
from cytoimagenet.eval.leaderboard import Benchmark, eval_results, eval_yaml, write_leaderboard
from cytoimagenet.eval.results.score import Result
from cytoimagenet.eval.run import EvaluationRun
from cytoimagenet.eval.tasks.registry import TASKS
from huggingface_hub import parse_eval_result_entries

HUB_KEYS = {"dataset", "value", "verifyToken", "date", "source", "evaluation_framework", "notes"}
HUB_DATASET_KEYS = {"id", "task_id", "revision"}
HUB_SOURCE_KEYS = {"url", "name", "user", "org"}
BENCHMARK = Benchmark("lab/tasks", "0123abc")


def entry(task="bbbc021", score="nsc", split="", model="first", preprocess="concat-norm", beside=False):
    return {
        "task": task, "score": score, "split": split, "model": model, "preprocess": preprocess, "beside": beside,
        "value": 86 / 103, "correct": 86, "n": 103, "interval": {"low": 0.751, "high": 0.8938},
        "settings": {"standardise": "all", "features": 1280, "metric": "cosine", "k": 1},
    }  # fmt: skip


def test_a_score_has_the_documented_form():
    files = eval_results([entry()], BENCHMARK)
    assert list(files) == ["bbbc021-concat-norm.yaml"]
    (written,) = files["bbbc021-concat-norm.yaml"]
    assert set(written) <= HUB_KEYS and set(written["source"]) <= HUB_SOURCE_KEYS
    assert written["dataset"] == {"id": "lab/tasks", "task_id": "bbbc021_nsc", "revision": "0123abc"}
    assert written["value"] == 83.5
    notes = written["notes"]
    assert notes.startswith("Per cent: 86 of 103 treatments, 95 % interval 75.1 to 89.4; images concat-norm; ")
    assert "cosine, k = 1, 1,280 features" in notes
    (back,) = parse_eval_result_entries(yaml.safe_load(leaderboard._yaml([written])))
    assert (back.dataset_id, back.task_id, back.value, back.notes) == ("lab/tasks", "bbbc021_nsc", 83.5, notes)
    without = eval_results([entry()], Benchmark("lab/tasks", None))["bbbc021-concat-norm.yaml"][0]
    assert set(without["dataset"]) == HUB_DATASET_KEYS - {"revision"}


def test_controls_and_settings_that_were_not_chosen_are_no_scores():
    more = [entry(score="shuffled"), entry(score="probe"), entry(beside=True), entry(task="mine")]
    assert eval_results(more, BENCHMARK) == {}


def test_one_file_per_task_and_preprocessing():
    entries = [entry(), entry(score="nscb"), entry(preprocess="merge-raw"), entry("cyclops", "knn")]
    files = eval_results(entries, BENCHMARK)
    ids = {name: [one["dataset"]["task_id"] for one in content] for name, content in files.items()}
    assert ids == {
        "bbbc021-concat-norm.yaml": ["bbbc021_nsc", "bbbc021_nscb"],
        "bbbc021-merge-raw.yaml": ["bbbc021_nsc"],
        "cyclops-concat-norm.yaml": ["cyclops_knn"],
    }


def test_every_task_of_the_list_is_one_that_scores_name():
    written = eval_yaml()
    assert set(written) == {"name", "description", "evaluation_framework", "tasks"}
    assert all(set(task) == {"id", "config", "split"} for task in written["tasks"])
    ids = [task["id"] for task in written["tasks"]]
    assert ids == [
        *("bbbc021_nsc", "bbbc021_nscb", "coos7_test1", "coos7_test2", "coos7_test3", "coos7_test4", "cyclops_knn")
    ]
    assert {task["config"] for task in written["tasks"]} == set(TASKS)


def test_each_model_has_its_own_scores_in_its_folder(tmp_path):
    run = EvaluationRun(tmp_path / "results", folders={"first": tmp_path / "first", "other": tmp_path / "other"})
    run.done = [Result([entry(), entry(model="imagenet")]), Result([entry("cyclops", "knn", model="other")])]
    written = write_leaderboard(run, BENCHMARK)
    assert sorted(str(path.relative_to(tmp_path)) for path in written) == [
        *("first/.eval_results/bbbc021-concat-norm.yaml", "other/.eval_results/cyclops-concat-norm.yaml"),
        "results/eval.yaml",
    ]
    assert yaml.safe_load((tmp_path / "results" / "eval.yaml").read_text()) == eval_yaml()
    before = [path.read_bytes() for path in written]
    assert write_leaderboard(run, BENCHMARK) == written and [path.read_bytes() for path in written] == before


@pytest.mark.parametrize("text", ["tasks", "", "lab/tasks/more", "https://huggingface.co/lab/tasks"])
def test_names_of_repositories(text):
    with pytest.raises(UsageError, match="OWNER/NAME"):
        Benchmark.parse(text)
