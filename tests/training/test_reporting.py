"""Reports to Weights & Biases (offline) and to MLflow: a stand-in, and the real one where it is installed."""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training import reporting
from cytoimagenet.training import train as module
from cytoimagenet.training.recipes import settings
from cytoimagenet.training.train import train
from transformers import TrainerCallback

TINY = {"size": 32, "epochs": 2, "batch_size": 27, "workers": 0}  # 10 steps per epoch: each is logged


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    for name in ("plot_history", "plot_per_class"):
        monkeypatch.setattr(module, name, lambda *_: None)


@pytest.fixture
def mlflow(monkeypatch):
    """A module in the place of MLflow that records its calls, as the callback of `transformers` uses it."""
    made = ModuleType("mlflow")
    made.__spec__ = importlib.machinery.ModuleSpec("mlflow", None)
    made.__version__ = "3.0.0"
    made.utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=250, MAX_PARAMS_TAGS_PER_BATCH=100))
    made.calls, made.params, made.metrics, running = [], {}, [], []
    made.is_tracking_uri_set = lambda: True
    made.get_tracking_uri = lambda: "file:./mlruns"
    made.active_run = lambda: running[-1] if running else None
    made.set_experiment = lambda name: made.calls.append(("experiment", name))

    def start_run(run_name, nested):
        running.append(SimpleNamespace(info=SimpleNamespace(run_id="1")))
        made.calls.append(("start", run_name))

    def log_params(params, synchronous=True):
        assert not made.params.keys() & params.keys(), "MLflow refuses another value of a parameter"
        made.params.update(params)

    made.start_run = start_run
    made.end_run = lambda status="FINISHED": made.calls.append((running.pop() and "end", status))
    made.MlflowClient = lambda: None
    made.log_params = log_params
    made.log_metrics = lambda metrics, step, synchronous: made.metrics.append((step, metrics))
    monkeypatch.setitem(sys.modules, "mlflow", made)
    return made


def test_mlflow(small_dataset, small_model, tmp_path, monkeypatch, mlflow):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    run = train(small_dataset, tmp_path / "first", model=small_model, **TINY, report_to="mlflow")
    assert mlflow.calls == [("experiment", "cytoimagenet"), ("start", "first"), ("end", "FINISHED")]
    assert mlflow.params["settings/recipe"] == "quick" and mlflow.params["settings/size"] == 32
    losses = [step for step, metrics in mlflow.metrics if "loss" in metrics]
    assert losses == [10, 20]
    evaluated = {step: metrics["eval_accuracy"] for step, metrics in mlflow.metrics if "eval_accuracy" in metrics}
    assert evaluated[20] == run.metrics["validation_accuracy"] and evaluated.keys() == {10, 20}
    assert all(
        {"images_per_second", "waiting_share"} <= metrics.keys() for _, metrics in mlflow.metrics if "loss" in metrics
    )
    assert "id2label" not in mlflow.params, "longer than MLflow accepts, and printed in a warning"
    trained = [metrics["train_loss"] for _, metrics in mlflow.metrics if "train_loss" in metrics]
    assert trained[-1] == run.metrics["train_loss"] and len(trained) == 2, "not the Trainer's mean over the run"
    assert not any({"rate", "train_runtime", "total_flos"} & metrics.keys() for _, metrics in mlflow.metrics)


class Fails(TrainerCallback):
    """Raises an error in the first step."""

    def __init__(self, error):
        self.error = error

    def on_step_end(self, args, state, control, **_):
        raise self.error


def test_an_interrupted_run_is_not_reported_as_finished(small_dataset, small_model, tmp_path, monkeypatch, mlflow):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
    failing = [Fails(KeyboardInterrupt())]
    with pytest.raises(KeyboardInterrupt):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, report_to="mlflow", callbacks=failing)
    assert mlflow.calls[1:] == [("start", "run"), ("end", "KILLED")] and mlflow.active_run() is None


def test_a_place_where_mlflow_cannot_store_runs(small_dataset, small_model, tmp_path, monkeypatch, mlflow):
    def refuse():
        raise OSError("in maintenance mode\nand more")

    mlflow.MlflowClient = refuse
    with pytest.raises(
        UsageError, match=r"^MLflow can't store runs: in maintenance mode \[file:./mlruns\]\nSet MLFLOW_"
    ):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, report_to="mlflow")
    assert not (tmp_path / "run").exists()


def test_the_real_mlflow(small_dataset, small_model, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not among the requirements: see docs/training.md")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # creating its database would take longer than the training
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path / 'mlruns'}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "test")
    run = train(small_dataset, tmp_path / "first", model=small_model, **TINY, report_to="mlflow")
    with pytest.raises(RuntimeError):
        failing = [Fails(RuntimeError("a"))]
        train(small_dataset, tmp_path / "two", model=small_model, **TINY, report_to="mlflow", callbacks=failing)
    client = mlflow.MlflowClient()
    stored = client.search_runs([client.get_experiment_by_name("test").experiment_id])
    runs = {one.info.run_name: one for one in stored}
    assert {name: one.info.status for name, one in runs.items()} == {"first": "FINISHED", "two": "FAILED"}
    assert runs["first"].data.params["settings/recipe"] == "quick"
    found = runs["first"].data.metrics
    assert found["train_loss"] == run.metrics["train_loss"]
    assert found["eval_accuracy"] == run.metrics["validation_accuracy"]
    history = client.get_metric_history(runs["first"].info.run_id, "train_loss")
    assert [one.step for one in history] == [10, 20]


def test_wandb_offline(small_dataset, small_model, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_PROJECT", "test")
    logged, started = [], []
    init = wandb.init

    def recorded(*args, **kwargs):
        started.append(init(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(wandb, "init", recorded)
    exits, finish = [], wandb.finish
    monkeypatch.setattr(wandb, "finish", lambda code: (exits.append(code), finish(code)))
    log = wandb.Run.log
    monkeypatch.setattr(
        wandb.Run, "log", lambda self, data, *rest, **more: (logged.append(data), log(self, data, *rest, **more))[1]
    )
    train(small_dataset, tmp_path / "first", model=small_model, **{**TINY, "epochs": 1}, report_to="wandb")
    [run] = started
    assert "train_samples_per_second" not in set(run.summary.keys())
    assert (run.name, run.project) == ("first", "test")
    assert run.config["settings/recipe"] == "quick"
    assert wandb.run is None, "the run has ended"
    assert [*tmp_path.glob("wandb/offline-run-*/run-*.wandb")], "written to disk, to be uploaded later"
    names = {name for data in logged for name in data}
    assert {"train/loss", "train/epoch_loss", "train/accuracy", "eval/accuracy"} <= names
    assert not names & {"train/rate", "train/train_accuracy", "train/train_runtime"}
    assert exits == [0]


@pytest.mark.parametrize("own", [True, False])
def test_a_failed_run_ends_in_wandb_if_training_started_it(monkeypatch, own):
    wandb = pytest.importorskip("wandb")
    exits = []
    monkeypatch.setenv("WANDB_PROJECT", "test")
    monkeypatch.setattr(wandb, "finish", exits.append)
    monkeypatch.setattr(wandb, "run", None if own else object())
    ours = reporting.callbacks(settings("quick", report_to="wandb"))
    monkeypatch.setattr(wandb, "run", object())
    reporting.end_failed([TrainerCallback(), *ours], RuntimeError("a"))
    assert exits == [1] * own


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_an_absent_package_is_named_before_the_folder_is_claimed(
    small_dataset, small_model, tmp_path, monkeypatch, package
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"needs the package {package}\npip install {package}"):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, report_to=package)
    assert not (tmp_path / "run").exists()
