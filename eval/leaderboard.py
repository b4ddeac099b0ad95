"""Scores as the Hugging Face Hub shows them: on the page of a model, and as a leaderboard of a dataset repository.

A model repository has its scores in `.eval_results/*.yaml`, and a dataset repository lists its tasks in `eval.yaml`:
https://huggingface.co/docs/hub/eval-results. The Hub calls the feature work in progress.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..builder.hf.hub_errors import check_repository_name
from ..builder.storage import write_atomic
from .results.score import name_of, settings_in_words
from .tasks.registry import TASKS

if TYPE_CHECKING:
    from .run import EvaluationRun

FRAMEWORK = "cytoimagenet"
PROTOCOL = "https://arxiv.org/abs/2111.11646"
FOLDER = ".eval_results"  # of a model repository
EVAL_YAML = "eval.yaml"  # of a dataset repository
LISTED = {
    # per task: the scores of the leaderboard, each with its test set
    "bbbc021": (("nsc", ""), ("nscb", "")),
    "coos7": (("knn", "test1"), ("knn", "test2"), ("knn", "test3"), ("knn", "test4")),
    "cyclops": (("knn", ""),),
}


@dataclass(frozen=True)
class Benchmark:
    """A dataset repository with a leaderboard, and the revision of it whose data was scored.

    Examples
    --------
    >>> Benchmark.parse("lab/transfer@0123abc")
    Benchmark(repository='lab/transfer', revision='0123abc')
    """

    repository: str
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> Benchmark:
        """Read `OWNER/NAME` or `OWNER/NAME@REVISION`.

        Raises
        ------
        UsageError
            If it has another form.
        """
        repository, _, revision = text.partition("@")
        check_repository_name(repository)
        return cls(repository, revision or None)


def task_id(task: str, score: str, split: str) -> str:
    """Return the name of a score in `eval.yaml` and in `.eval_results`.

    Examples
    --------
    >>> task_id("bbbc021", "nsc", ""), task_id("coos7", "knn", "test1")
    ('bbbc021_nsc', 'coos7_test1')
    """
    return f"{task}_{name_of({'score': score, 'split': split})}".replace(" ", "_")


def eval_yaml() -> dict[str, Any]:
    """Return the content of `eval.yaml`: the tasks, each with configuration and split of the data it is scored on."""
    return {
        "name": "Transfer tasks of CytoImageNet",
        "description": "Features of a network, without training on the task: mechanism of action of compounds "
        "(BBBC021), protein localisation in cells of other days and microscopes (COOS-7), and protein localisation in "
        f"yeast (CYCLoPs). Values are accuracies in per cent. Protocol: {PROTOCOL}",
        "evaluation_framework": FRAMEWORK,
        "tasks": [
            {"id": task_id(task, score, split), "config": task, "split": split or "test"}
            for task, scores in LISTED.items()
            for score, split in scores
        ],
    }


def eval_results(entries: Iterable[Mapping[str, Any]], benchmark: Benchmark) -> dict[str, list[dict[str, Any]]]:
    """Return the content of each file of `.eval_results` of one model, by name: one file per task and preprocessing.

    Parameters
    ----------
    entries : iterable of dict
        Entries of results.json of this model. Only the scores in `LISTED` are used.
    benchmark : Benchmark
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    files: dict[str, list[EvalResultEntry]] = {}
    for entry in entries:
        if entry["beside"] or (entry["score"], entry["split"]) not in LISTED.get(entry["task"], ()):
            continue
        low, high = (100 * entry["interval"][side] for side in ("low", "high"))
        files.setdefault(f"{entry['task']}-{entry['preprocess']}.yaml", []).append(
            EvalResultEntry(
                dataset_id=benchmark.repository,
                task_id=task_id(entry["task"], entry["score"], entry["split"]),
                dataset_revision=benchmark.revision,
                value=round(100 * entry["value"], 2),
                source_url=PROTOCOL,
                source_name="Protocol",
                notes=f"Per cent: {entry['correct']:,} of {entry['n']:,} {TASKS[entry['task']].unit}, 95 % interval "
                f"{low:.1f} to {high:.1f}; images {entry['preprocess']}; {settings_in_words(entry)}",
            )
        )
    return {name: eval_result_entries_to_yaml(found) for name, found in sorted(files.items())}


def write_leaderboard(run: EvaluationRun, benchmark: Benchmark) -> list[Path]:
    """Write `eval.yaml` into the folder of the results, and the scores of each local model into its own folder.

    Files of the same task and preprocessing are replaced.

    Returns
    -------
    list of Path
        The files.
    """
    written = {run.out / EVAL_YAML: _yaml(eval_yaml())}
    entries = [entry for result in run.done for entry in result.entries]
    for model, folder in run.folders.items():
        of_model = [entry for entry in entries if entry["model"] == model]
        for name, content in eval_results(of_model, benchmark).items():
            written[folder / FOLDER / name] = _yaml(content)
    for path, text in written.items():
        write_atomic(path, text)
    return list(written)


def _yaml(content: Any) -> bytes:
    import yaml

    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()
