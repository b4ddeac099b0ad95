"""A run is reported to Weights & Biases (offline) and to MLflow (a module that stands for it)."""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType, SimpleNamespace

import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.training import train as module
from cytoimagenet.training.train import train

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
    made.end_run = lambda: made.calls.append(("end", running.pop() and "run"))
    made.log_params = log_params
    made.log_metrics = lambda metrics, step, synchronous: made.metrics.append((step, metrics))
    monkeypatch.setitem(sys.modules, "mlflow", made)
    return made


def test_mlflow(small_dataset, small_model, tmp_path, monkeypatch, mlflow):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME")
    run = train(small_dataset, tmp_path / "first", model=small_model, **TINY, report_to="mlflow")
    assert mlflow.calls == [("experiment", "cytoimagenet"), ("start", "first"), ("end", "run")]
    assert mlflow.params["settings/recipe"] == "quick" and mlflow.params["settings/size"] == 32
    losses = [step for step, metrics in mlflow.metrics if "loss" in metrics]
    assert losses == [10, 20]
    evaluated = {step: metrics["eval_accuracy"] for step, metrics in mlflow.metrics if "eval_accuracy" in metrics}
    assert evaluated[20] == run.metrics["validation_accuracy"] and evaluated.keys() == {10, 20}
    assert all(
        {"images_per_second", "waiting_share"} <= metrics.keys() for _, metrics in mlflow.metrics if "loss" in metrics
    )


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
    log = wandb.Run.log
    monkeypatch.setattr(
        wandb.Run, "log", lambda self, data, *rest, **more: (logged.append(data), log(self, data, *rest, **more))[1]
    )
    train(small_dataset, tmp_path / "first", model=small_model, **{**TINY, "epochs": 1}, report_to="wandb")
    [run] = started
    assert (run.name, run.project) == ("first", "test")
    assert run.config["settings/recipe"] == "quick"
    assert wandb.run is None, "the run has ended"
    assert [*tmp_path.glob("wandb/offline-run-*/run-*.wandb")], "written to disk, to be uploaded later"
    assert any("train/loss" in data for data in logged) and any("eval/accuracy" in data for data in logged)


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_an_absent_package_is_named_before_the_folder_is_claimed(
    small_dataset, small_model, tmp_path, monkeypatch, package
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"needs the package {package}\npip install {package}"):
        train(small_dataset, tmp_path / "run", model=small_model, **TINY, report_to=package)
    assert not (tmp_path / "run").exists()
