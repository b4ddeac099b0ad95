"""Upload a trained model to the Hugging Face Hub: model, card, history, plots and scores; no other files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..builder.errors import UsageError
from ..builder.hf.hub_errors import check_reachable, check_repository_name, in_plain_words, quiet_client
from . import run_folder

MODEL_FILES = ("config.json", "model.safetensors", "preprocessor_config.json", "README.md")
REPORT_FILES = ("history.csv", "per_class.csv", "loss.png", "accuracy.png", "per_class.png")
"""Optional files. run.json and settings.yaml are not uploaded, since they contain paths of this machine."""
EVAL_RESULTS = ".eval_results"
"""Folder of the scores that `eval --benchmark` writes: https://huggingface.co/docs/hub/eval-results"""


@dataclass(frozen=True)
class PushedModel:
    """Result of an upload: repository, commit and names of the files."""

    repository: str
    commit: str
    files: tuple[str, ...]


@quiet_client()
def push_model(folder: str | PathLike[str], repository: str, *, private: bool = False) -> PushedModel:
    """Upload the model of a finished run as a model repository, in one commit.

    Parameters
    ----------
    folder : path
        Folder of a finished training run.
    repository : str
        `OWNER/NAME`; created if it does not exist.
    private : bool
        Create the repository as a private one.

    Raises
    ------
    UsageError
        If the folder does not contain a finished model with a card, the Hub rejects the metadata of the card, a file of
        scores is damaged, or the name of the repository is not valid.
    CytoImageNetError
        If the upload fails. Repeating the call uploads only what is missing.
    """
    import huggingface_hub

    check_repository_name(repository)
    files = files_to_push(Path(folder))
    check_reachable(repository)
    api = huggingface_hub.HfApi()
    try:
        huggingface_hub.ModelCard.load(Path(folder) / "README.md").validate()
        api.create_repo(repository, repo_type="model", private=private or None, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            repo_type="model",
            folder_path=os.fspath(folder),
            allow_patterns=list(files),
            commit_message="Upload the model, its card and its history",
        )
    except ValueError as error:
        raise UsageError(f"The Hub rejects the model card: {error}", where=Path(folder) / "README.md") from error
    except Exception as error:
        raise in_plain_words(error, repository) from error
    return PushedModel(repository, commit.oid, files)


def files_to_push(folder: Path) -> tuple[str, ...]:
    """Return the names of the files of a finished run to upload.

    Raises
    ------
    UsageError
        If the run is not finished, a file that a model repository needs is missing, or a file of scores is damaged.
    """
    facts: dict[str, Any] | None = run_folder.read_facts(folder)
    if facts is not None and not facts["finished"]:
        raise UsageError(
            "The training run is not finished",
            where=folder,
            next="Continue it: cytoimagenet train DIR --out RUN --resume",
        )
    absent = [name for name in MODEL_FILES if not (folder / name).is_file()]
    if absent:
        raise UsageError(
            f"This folder lacks files of a model: {', '.join(absent)}", where=folder, next="Give a run folder"
        )
    scores = sorted((folder / EVAL_RESULTS).glob("*.yaml"))
    for path in scores:
        _check_scores(path)
    present = (name for name in (*MODEL_FILES, *REPORT_FILES) if (folder / name).is_file())
    return *present, *(f"{EVAL_RESULTS}/{path.name}" for path in scores)


def _check_scores(path: Path) -> None:
    """Refuse a file of scores that the Hub would not read."""
    import yaml
    from huggingface_hub import parse_eval_result_entries

    try:
        parse_eval_result_entries(yaml.safe_load(path.read_bytes()))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(
            "This is not a file of scores for the Hub",
            where=path,
            next="Write it again: cytoimagenet eval --models RUN --benchmark OWNER/NAME, or remove it",
        ) from error
