"""A trained model to the Hugging Face Hub: what `from_pretrained` reads, the card, and how it went; nothing else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..builder.errors import UsageError
from ..builder.hf.hub_errors import check_repository_name, in_plain_words
from . import run_folder as run

MODEL = ("config.json", "model.safetensors", "preprocessor_config.json", "README.md")
BESIDE = ("history.csv", "per_class.csv", "loss.png", "accuracy.png", "per_class.png")
"""Named one by one: run.json and settings.yaml hold paths of this machine, checkpoints hold optimizer states."""


@dataclass(frozen=True)
class PushedModel:
    """Where a model went: repository, commit, files."""

    repository: str
    commit: str
    files: tuple[str, ...]


def push_model(folder: str | PathLike[str], repository: str, *, private: bool = False) -> PushedModel:
    """Upload the model of a finished run as a model repository, in one commit.

    Parameters
    ----------
    folder : path
        A run folder.
    repository : str
        `OWNER/NAME`; made if it is not there.
    private : bool
        Of a repository that is made.

    Raises
    ------
    UsageError
        If the folder holds no finished model with a card, the card's metadata are not what the Hub takes, or the name
        is none.
    CytoImageNetError
        If the Hub says no. The same call again sends only what is missing.
    """
    import huggingface_hub

    check_repository_name(repository)
    files = pushable(Path(folder))
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
        raise UsageError(f"The Hub does not take the card: {error}", where=Path(folder) / "README.md") from error
    except Exception as error:
        raise in_plain_words(error, repository) from error
    return PushedModel(repository, commit.oid, files)


def pushable(folder: Path) -> tuple[str, ...]:
    """Name the files of a finished run that may leave this machine.

    Raises
    ------
    UsageError
        If the run is not finished, or what a model repository needs is not there.
    """
    known: dict[str, Any] | None = run.known(folder)
    if known is not None and not known["finished"]:
        raise UsageError(
            "The training run is not finished", where=folder, next="Go on with: cytoimagenet train DIR --out RUN"
        )
    absent = [name for name in MODEL if not (folder / name).is_file()]
    if absent:
        raise UsageError(
            f"Not a model that can be pushed: {', '.join(absent)} missing", where=folder, next="Give a run folder"
        )
    return tuple(name for name in (*MODEL, *BESIDE) if (folder / name).is_file())
