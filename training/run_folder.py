"""Read and write a run folder: the files of one training run.

settings.yaml          all settings
run.json               dataset and its digest, commit of the code, library versions, processes, scores; written last
history.csv            one line per epoch, plotted in loss.png and accuracy.png; tensorboard/ contains the steps
per_class.csv          accuracy of each class and its most frequent wrong answer, plotted in per_class.png
config.json  model.safetensors  preprocessor_config.json     the model, in the layout of `transformers`
README.md              the model card
best/                  the model of the epoch with the highest validation accuracy, if the folder's own model is another
trainer_state.json     the Trainer's own log
checkpoint-N/ best-N/  only during training
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from ..builder import resume
from ..builder.errors import UsageError
from ..builder.storage import TEMPORARY, write_atomic
from ..builder.versions import versions_of
from . import best
from .normalisation import write_normalisation
from .recipes import Settings, settings, to_yaml

SETTINGS, RUN, HISTORY, STATE = "settings.yaml", "run.json", "history.csv", "trainer_state.json"
VALIDATION_SCORES = ("loss", "accuracy", "accuracy_any_label", "top7")  # in the order of their columns
MODEL_FILES = ("model.safetensors", "preprocessor_config.json", "config.json")  # moved into the folder in this order
_LIBRARIES = ("cytoimagenet", "torch", "transformers", "accelerate", "numpy", "opencv-python-headless")
_WITHOUT_EFFECT_ON_WEIGHTS = ("workers", "cache_dir", "cache_bytes", "evaluate_every", "save_every", "report_to")
"""Settings that may differ when a run is resumed; `evaluate_every` only if no evaluation decides which weights stay."""
_DIVIDED = ("batch_size", "accumulation")
"""Settings that may differ when a run is resumed with the same number of images per step, see `division.divide`."""


def default_folder(recipe: str, digest: str) -> Path:
    """Return the default run folder: `runs/<recipe>-<first 8 digits of the dataset's digest>`.

    Examples
    --------
    >>> default_folder("quick", "0123456789abcdef").as_posix()
    'runs/quick-01234567'
    """
    return Path("runs") / f"{recipe}-{digest[:8]}"


def stored_settings(folder: Path) -> Settings | None:
    """Return the settings of the run in a folder, or None if there is no run."""
    path = folder / SETTINGS
    return settings(path) if path.exists() else None


def read_facts(folder: Path) -> dict[str, Any] | None:
    """Return the contents of `run.json`, or None if there is no run."""
    return json.loads((folder / RUN).read_text()) if (folder / RUN).exists() else None


def claim(folder: Path, chosen: Settings, facts: dict[str, Any]) -> dict[str, Any]:
    """Start a run in a new or empty folder, or return the facts of the run that the folder contains.

    Parameters
    ----------
    folder : Path
    chosen : Settings
    facts : dict
        The facts of the run to start, see `collect_facts`. A run in the folder must have the same `digest`.

    Returns
    -------
    dict
        The contents of `run.json`; `finished` is true if the run is finished.

    Raises
    ------
    SettingsChangedError
        If the folder contains a run with other settings or of another dataset.
    UsageError
        If the folder contains something else.
    """
    before = stored_settings(folder)
    if before is None:
        if folder.exists() and any(not file.name.startswith(TEMPORARY) for file in folder.iterdir()):
            raise UsageError("This folder contains something else", where=folder, next="Name a new or empty folder")
        write_atomic(folder / RUN, _json({**facts, "finished": False}))
        write_atomic(folder / SETTINGS, to_yaml(chosen).encode())
        return {**facts, "finished": False}
    stored = read_facts(folder) or {**facts, "finished": False}
    fixed = () if stored["finished"] else _DIVIDED
    resume.refuse_changes(
        folder,
        {**_weight_settings(before, fixed), "dataset": stored["digest"], "audit": stored.get("audit", "")},
        {**_weight_settings(chosen, fixed), "dataset": facts["digest"], "audit": facts.get("audit", "")},
        what="This folder contains a run with other settings",
        next="Name another folder with --out, or continue that run with --resume and no other settings.",
    )
    return stored


def _weight_settings(chosen: Settings, left_out: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings on which the weights depend, without some."""
    left_out = (*_WITHOUT_EFFECT_ON_WEIGHTS, *left_out)
    evaluated = {"evaluate_every"} if chosen.keep == "best" or chosen.patience else set()
    return {name: value for name, value in asdict(chosen).items() if name not in left_out or name in evaluated}


def note_division(folder: Path, facts: dict[str, Any], chosen: Settings, *, step: int, world: int) -> dict[str, Any]:
    """Write into `run.json` how many processes train from a step on, and in which batches, if that has changed.

    Returns
    -------
    dict
        The contents of `run.json`. `processes` is the latest number of processes; `divisions` contains one entry for
        each division of the images of a step, with the step from which it was used.
    """
    division = {"processes": world, "batch_size": chosen.batch_size, "accumulation": chosen.accumulation}
    divisions = [entry for entry in facts.get("divisions", []) if entry["from_step"] < step]
    if not divisions or {**divisions[-1], "from_step": None} != {**division, "from_step": None}:
        divisions.append({"from_step": step, **division})
    facts = {**facts, "processes": world, "divisions": divisions}
    write_atomic(folder / RUN, _json(facts))
    return facts


def collect_facts(data_dir: str, digest: str, images: dict[str, int], classes: int) -> dict[str, Any]:
    """Return the contents of `run.json` that are known at the start of a run."""
    return {
        "data_dir": data_dir,
        "digest": digest,
        "images": images,
        "classes": classes,
        "revision": git_revision(),
        "versions": versions_of(*_LIBRARIES),
        "python": platform.python_version(),
        "machine": {"cores": os.cpu_count(), "system": platform.system(), "processor": platform.machine()},
    }


def git_revision() -> str:
    """Return the commit of this checkout, with `-dirty` if tracked files are changed; empty if this is no checkout."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return ""
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=20, check=True)
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("-dirty" if changes.stdout.strip() else "")


def history(log: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the table of epochs from the Trainer's log.

    Parameters
    ----------
    log : list of dict
        `log_history` of the Trainer's state.

    Returns
    -------
    DataFrame
        One row per epoch: `epoch`, `step`, `learning_rate`; `train_` and `validation_` `loss` and `accuracy`;
        `validation_accuracy_any_label`, where the answer may also be another right label of the image; and
        `validation_top7`. Accuracies are in [0, 1]; validation columns are NaN for epochs that were not evaluated, and
        the last one also with at most seven classes, where every answer would be right.
    """
    epochs: dict[int, dict[str, Any]] = {}
    for entry in log:
        step = entry.get("step", 0)
        if "train_accuracy" in entry:
            epochs[step] = {
                "epoch": round(entry["epoch"]), "step": step, "learning_rate": entry["rate"],
                "train_loss": entry["train_loss"], "train_accuracy": entry["train_accuracy"],
            }  # fmt: skip
        elif "eval_accuracy" in entry and step in epochs:
            found = {name: entry.get(f"eval_{name}") for name in VALIDATION_SCORES}
            epochs[step] |= {f"validation_{name}": value for name, value in found.items() if value is not None}
    columns = ["epoch", "step", "learning_rate", "train_loss", "train_accuracy"]
    columns += [f"validation_{name}" for name in VALIDATION_SCORES]
    return pd.DataFrame(list(epochs.values()), columns=columns)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV file atomically."""
    text = io.StringIO()
    table.to_csv(text, index=False, float_format="%.6g")
    write_atomic(path, text.getvalue().encode())


def save_model(folder: Path, model: nn.Module, normalisation: tuple[Any, Any], size: int) -> None:
    """Save a model into the run folder; `config.json` is moved last, so a folder that contains it has all files.

    Parameters
    ----------
    folder : Path
    model : Module
        A `transformers` model.
    normalisation : (mean, std)
    size : int
        Side of the model's input in pixels.
    """
    temporary = folder / f"{TEMPORARY}model"
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)  # type: ignore[operator]
    write_normalisation(temporary, *normalisation, size=size)
    for name in MODEL_FILES:
        os.replace(temporary / name, folder / name)
    shutil.rmtree(temporary)


def mark_finished(folder: Path, facts: dict[str, Any]) -> None:
    """Write `run.json` with `finished` set to true, and remove the checkpoints and the best weights of training."""
    write_atomic(folder / RUN, _json({**facts, "finished": True}))
    best.remove_others(folder, None)
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
