"""The command `eval`, from files to files."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval import run
from cytoimagenet.eval.commands import run as command
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.features import backbones
from cytoimagenet.eval.report import write as report
from cytoimagenet.eval.results import document as results
from cytoimagenet.eval.sets import cyclops
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.coos7 import simulate_coos7
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops
from typer.testing import CliRunner


class Small(torch.nn.Module):
    """A quick network of a few random filters, whose features differ by class."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.filters = torch.nn.Conv2d(3, 6, 5, stride=2)

    def forward(self, images):
        seen = torch.relu(self.filters(images))
        return torch.cat([seen.mean(dim=(2, 3)), seen.amax(dim=(2, 3))], dim=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaldata")
    simulate_bbbc021(root / "bbbc021", shape=(40, 48), sites=1)
    simulate_coos7(root / "coos7", train=4, test=2)
    simulate_cyclops(root / "cyclops", cells=4)
    return root


@pytest.fixture
def networks(monkeypatch):
    """Load small networks by the names of the real ones."""
    loaded = []

    def load(name):
        loaded.append(name)
        seed = {"imagenet": 7, "runs/first": 8}.get(name) or int(name.partition(":")[2] or 0)
        return backbones.backbone(Small(seed), name.rpartition("/")[2], name)

    monkeypatch.setattr(backbones, "load", load)
    return loaded


def invoke(*arguments):
    import typer

    app = typer.Typer()
    command.add_to(app)
    return CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=True)


def test_all_tasks_all_models(data, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RANDOM_SEEDS", 1)
    reported = []  # the page is tested with tables; here it would take most of the time
    monkeypatch.setattr(report, "write_report", lambda document, out, **more: reported.append((document, out, more)))
    (tmp_path / "runs" / "first").mkdir(parents=True)
    (tmp_path / "runs" / "first" / "model.safetensors").touch()
    options = ("--data", data, "--preprocess", "concat-norm,merge-raw", "--engine", "torch", "--out", "res")
    options += ("--benchmark", "lab/tasks")
    done = invoke(*options)
    assert done.exit_code == 0, done.output
    assert networks == ["random:0", "imagenet", "runs/first"]
    assert "Wrote for the Hub: res/eval.yaml, runs/first/.eval_results/bbbc021-concat-norm.yaml" in done.output
    listed = {
        (path.stem, one["dataset"]["task_id"]): one["value"]
        for path in (tmp_path / "runs" / "first" / ".eval_results").iterdir()
        for one in yaml.safe_load(path.read_text())
    }
    assert len(listed) == 2 * 7, "seven scores for each preprocessing, of the training run alone"
    document = results.read("res")
    chosen = ("cyclops", "knn", "first", "merge-raw")
    (score,) = (
        e["value"] for e in document["results"] if (e["task"], e["score"], e["model"], e["preprocess"]) == chosen
    )
    assert listed["cyclops-merge-raw", "cyclops_knn"] == round(100 * score, 2)
    found = {(e["task"], e["split"], e["score"], e["model"], e["preprocess"]) for e in document["results"]}
    for task, split, score in (("bbbc021", "", "nsc"), ("coos7", "test4", "knn"), ("cyclops", "", "knn")):
        for model in ("random:0", "imagenet", "first", "fusion of imagenet and first"):
            assert {(task, split, score, model, m) for m in ("concat-norm", "merge-raw")} <= found
        assert (task, split, score, "mean-intensity", "concat-norm") in found
        assert (task, split, "probe", "imagenet", "concat-norm") in found
        assert (task, split, "probe", "imagenet", "merge-raw") not in found
    widths = {e["model"]: e["settings"]["features"] + e["settings"]["dropped"] for e in document["results"]
              if (e["task"], e["score"], e["preprocess"]) == ("cyclops", "knn", "concat-norm")}  # fmt: skip
    assert widths["fusion of imagenet and first"] == widths["imagenet"] + widths["first"] == 2 * 2 * 12
    ways = {e["task"]: e["settings"]["standardise"] for e in document["results"] if not e["beside"]}
    assert ways == {"bbbc021": "all", "coos7": "train", "cyclops": "all"}
    assert {tuple(p["models"]) for p in document["paired"]} >= {("first", "imagenet"), ("imagenet", "random:0")}
    assert [(one, str(out)) for one, out, _ in reported] == [(document, "res")]
    assert {step["step"] for step in reported[0][2]["steps"]} >= {"coos7: features", "cyclops: features"}
    # the same again computes nothing new and changes no byte
    before = {p: p.read_bytes() for p in (tmp_path / "res").rglob("*") if p.is_file() and p.name != "timing.json"}
    assert invoke(*options, "--tasks", "cyclops").exit_code == 0
    for path, content in before.items():
        assert path.read_bytes() == content, path
    # scores with other settings are added
    assert invoke(*options, "--ties", "published", "--tasks", "cyclops").exit_code == 0
    after = results.read("res")["results"]
    assert {e["key"] for e in document["results"]} < {e["key"] for e in after}


def test_random_is_several_networks(networks, tmp_path):
    evaluation = run.EvaluationRun(tmp_path)
    models = ["random", "random:5", "imagenet", "runs/first", "fusion", "imagenet"]
    found, fused = run._networks(models, evaluation)
    names = ["random:0", "random:1", "random:2", "random:5", "imagenet"]
    assert [network.name for network in found] == [*names, "first"]
    assert len({network.digest for network in found}) == 6
    assert fused == [("imagenet", "first")]
    assert evaluation.notes == []


def test_what_is_missing_is_reported_and_the_rest_runs(data, networks, tmp_path):
    (tmp_path / "evaldata").mkdir()
    (tmp_path / "evaldata" / "cyclops").symlink_to(data / "cyclops")
    done = invoke("--models", "imagenet,RUN,fusion", "--preprocess", "merge-norm", "--engine", "torch")
    assert done.exit_code == 0, done.output
    printed = done.output
    assert "bbbc021: no data" in printed
    assert "BBBC021_v1_moa.csv" in printed
    assert "Zenodo" in printed
    assert "There is no training run" in printed
    assert "fusion left out" in printed
    assert {e["task"] for e in results.read("results")["results"]} == {"cyclops"}


def test_a_leaderboard_needs_a_task_and_a_network(tmp_path):
    for options in (("--task", "x"), ("--tasks", "cyclops", "--features", "x.csv")):
        done = invoke(*options, "--benchmark", "lab/tasks")
        assert isinstance(done.exception, UsageError)
        assert "--benchmark lists scores of networks" in str(done.exception)
    assert "OWNER/NAME" in str(invoke("--benchmark", "tasks").exception)


def test_no_data_is_an_error(tmp_path):
    done = invoke("--data", tmp_path / "nothing")
    assert isinstance(done.exception, UsageError)
    assert "no data for any task" in str(done.exception)


def test_the_folder_of_the_data(monkeypatch, tmp_path):
    assert str(run.data_root(None)) == "evaldata"
    monkeypatch.setenv("CYTOIMAGENET_EVALDATA", str(tmp_path))
    assert run.data_root(None) == tmp_path
    assert str(run.data_root("given")) == "given"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "bbbc022"], "--tasks 'bbbc022'"),
        (["--tasks", ""], "names nothing"),
        (["--preprocess", "norm"], "--preprocess 'norm'"),
        (["--input-size", "big"], "--input-size 'big'"),
        (["--standardise", "z"], "--standardise z does not exist"),
        (["--standardise", "train"], "--standardise train does not exist for bbbc021"),
        (["--cyclops-labels", "mine"], "--cyclops-labels mine"),
        (["--features", "t.csv"], "no such table"),
        (["--features", "t.csv", "--tasks", "cyclops,coos7"], "belong to one task"),
        (["--metadata", "x"], "can only be used with --features"),
        (["--features", "t.csv", "--tasks", "cyclops"], "no such table"),
    ],
)
def test_wrong_usage_is_reported_before_anything_is_read(data, networks, arguments, message):
    done = invoke("--data", data, *arguments)
    assert isinstance(done.exception, UsageError), done.output
    assert done.exception.exit_code == 2
    assert message in str(done.exception)
    assert networks == []


def test_unlabelled_cells_are_refused(networks, tmp_path):
    simulate_cyclops(tmp_path / "made", cells=4, layout="tree")
    for number, folder in enumerate(sorted((tmp_path / "made").iterdir())):
        folder.rename(tmp_path / "made" / f"YFG{number}")
    (tmp_path / "evaldata").mkdir()
    (tmp_path / "made").rename(tmp_path / "evaldata" / "cyclops")
    done = invoke("--tasks", "cyclops")
    assert isinstance(done.exception, UsageError)
    assert "have no labels" in str(done.exception)


def test_damage_is_reported_before_anything_is_computed(data, networks, tmp_path):
    (tmp_path / "evaldata").mkdir()
    (tmp_path / "evaldata" / "cyclops").symlink_to(data / "cyclops")
    (tmp_path / "evaldata" / "coos7").mkdir()
    done = invoke()
    assert "train, test1, test2, test3, test4 missing" in str(done.exception)
    assert networks == []
    assert not (tmp_path / "results").exists()


@pytest.fixture
def table(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a0", "a1", "a2"])
    frame["label"] = [f"k{i % 3}" for i in range(60)]
    frame["id"] = [f"cell {i}" for i in range(60)]
    frame.loc[frame["label"] == "k1", "a0"] += 3
    frame.to_csv(tmp_path / "mine.csv", index=False)
    return frame


def test_a_table_of_features(table, tmp_path):
    done = invoke("--tasks", "cyclops", "--features", "mine.csv", "--name", "$HOME <b>mine</b>", "--json")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "results" / "report.html").is_file()
    document = json.loads(done.stdout)
    assert document == results.read("results")
    (knn,) = [e for e in document["results"] if e["score"] == "knn"]
    assert (knn["model"], knn["n"], knn["settings"]["standardise"]) == ("$HOME <b>mine</b>", 60, "none")
    assert "<b>mine" not in (tmp_path / "results" / "report.html").read_text()


def test_two_tables_are_compared(table, tmp_path):
    table.assign(a0=0.0).to_parquet(tmp_path / "worse.parquet")
    for name in ("mine.csv", "worse.parquet"):
        done = invoke("--tasks", "cyclops", "--features", name, "--no-probe")
        assert done.exit_code == 0, done.output
    (pair,) = [p for p in results.read("results")["paired"] if p["score"] == "knn"]
    assert pair["models"] == ["mine", "worse"]
    assert pair["difference"] > 0
    assert pair["mcnemar"]["only_first"] - pair["mcnemar"]["only_second"] == round(pair["difference"] * 60)
    assert "mine against worse" in done.output


KILLED = """
import os, signal, sys
from cytoimagenet.builder import storage
replace, left = os.replace, [int(sys.argv.pop(1))]

def killing(*paths):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)

storage.os.replace = killing
sys.argv[0] = "cytoimagenet"
import cytoimagenet
cytoimagenet.main()
"""


def test_kill_9_then_the_same_command(table, tmp_path):
    asked = ["eval", "--tasks", "cyclops", "--features", str(tmp_path / "mine.csv"), "--no-probe", "--out"]
    options = {"capture_output": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "timeout": 300}
    killed = subprocess.run([sys.executable, "-c", KILLED, "2", *asked, str(tmp_path / "out")], **options)
    assert killed.returncode == -9, killed.stderr
    assert not (tmp_path / "out" / "results.json").exists()
    done = subprocess.run([sys.executable, "-c", KILLED, "0", *asked, str(tmp_path / "out")], **options)
    assert done.returncode == 0, done.stderr
    assert invoke(*asked[1:], tmp_path / "clean").exit_code == 0

    def left(out):
        files = [
            p for p in (tmp_path / out).rglob("*") if p.is_file() and p.suffix != ".html" and p.name != "timing.json"
        ]
        return {str(p.relative_to(tmp_path / out)): p.read_bytes() for p in files if not p.name.startswith(".partial-")}

    assert left("out") == left("clean")


def test_the_script_runs_from_a_hostile_folder(checkout, table, tmp_path):
    hostile = tmp_path / "hostile"
    for name in ("eval", "loaders", "builder", "training", "datasets", "cytoimagenet"):
        (hostile / name).mkdir(parents=True)
        (hostile / name / "__init__.py").write_text("raise SystemExit('the wrong module')")
    out = tmp_path / "out"
    asked = [sys.executable, str(checkout / "eval" / "run_all.py"), "--tasks", "cyclops", "--no-probe"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = {"cwd": hostile, "env": environment, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run([*asked, "--features", str(tmp_path / "mine.csv"), "--out", str(out)], **options)
    assert done.returncode == 0, done.stderr
    assert results.read(out)["results"]
    assert "of 60)" in done.stdout
    failed = subprocess.run([*asked, "--features", "absent.csv"], **options)
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr
    assert "no such table" in failed.stderr


def test_a_network_and_its_saved_table_have_the_same_score(data, networks, tmp_path):
    """Features of a network that are saved and scored as a table give the same score."""
    from cytoimagenet.eval.features.extract import extract

    samples = cyclops.read(data / "cyclops")
    made = extract(samples, backbones.load("imagenet"), methods=["concat-norm"], cache=tmp_path, engine="torch")
    made["imagenet", "concat-norm"].save(tmp_path / "table.parquet")
    done = invoke("--data", data, "--tasks", "cyclops", "--models", "imagenet", "--preprocess", "concat-norm",
                  "--engine", "torch", "--no-probe")  # fmt: skip
    assert done.exit_code == 0, done.output
    again = evaluate("cyclops", tmp_path / "table.parquet", samples, standardise="all", probe=False)
    (knn,) = [e for e in results.read("results")["results"] if (e["score"], e["model"]) == ("knn", "imagenet")]
    assert knn["confusion"] == again.scores["knn"].confusion
    assert np.isclose(knn["value"], again.scores["knn"])
