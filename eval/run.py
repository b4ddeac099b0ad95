"""Tasks x models x preprocessing: read and check everything, compute what is missing, score, write the report."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..builder.console import err
from ..builder.errors import CheckFailedError, UsageError
from ..builder.storage import write_atomic
from .results import document as results
from .results.score import Result
from .score_features import score_features

if TYPE_CHECKING:
    from .features.backbones import Backbone
    from .features.table import Features
    from .own_images import OwnImages
    from .protocols.settings import EvaluationSettings
    from .sets.samples import Samples
    from .tasks.record import Task

RANDOM_SEEDS = 3  # random networks: the scores of a single one vary too much to be a baseline


@dataclass
class EvaluationRun:
    """A run of the evaluation.

    Attributes
    ----------
    out : Path
        Folder of the results.
    main : bool
        False in all but one of several processes: these compute features and write no results.
    tasks : list of Task
        The tasks that were scored.
    done : list of Result
        The results of this run.
    notes : list of str
        What was left out, and why.
    steps : list of dict
        Duration and peak memory of each step.
    folders : dict of str to Path
        The folder of each model that was loaded from this disk, by its name in the results.
    """

    out: Path
    main: bool = True
    tasks: list[Task] = field(default_factory=list)
    done: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    folders: dict[str, Path] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Print a note now and in the report."""
        self.notes.append(text)
        if self.main:
            err.print(text, markup=False)

    def timed(self, step: str, since: float) -> None:
        """Record the duration of a step and the peak memory until its end."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
        self.steps.append({"step": step, "seconds": round(time.perf_counter() - since, 2), "peak_gb": round(peak, 2)})

    def add(self, result: Result) -> None:
        """Merge a result into results.json at once, so that a kill loses no finished score."""
        self.done.append(result)
        results.merge(self.out, result)
        remarks = (f"{entry['task']}: {remark}" for entry in result.entries for remark in entry.get("remarks", ()))
        for remark in dict.fromkeys(remarks):
            if remark not in self.notes:
                self.note(remark)


def score_models(
    roots: Mapping[Task, Path],
    models: Sequence[str],
    out: str | PathLike[str],
    settings: EvaluationSettings,
    *,
    methods: Sequence[str],
    size: int | Literal["native"] | None = None,
    own: Sequence[OwnImages] = (),
    strict: bool = False,
    cache: str | PathLike[str] | None = None,
    engine: str = "auto",
    workers: int | None = None,
) -> EvaluationRun:
    """Compute features of networks for tasks, score them and write the results.

    Parameters
    ----------
    roots : mapping of Task to folder
        All folders are read and checked before anything is computed.
    models : sequence of str
        `random` (several seeds), `imagenet`, `RUN` (the newest below ./runs), a training run or a model, `fusion`
        (the features of ImageNet and of each run side by side).
    out : path
        Folder for results.json and predictions.
    settings : EvaluationSettings
        Each task uses its published standardisation if it names none.
    methods : sequence of str
        Preprocessing; the probe is fitted on the first only.
    size : int or "native", optional
        Side in pixels to which images are resized; by default `Task.input_size` of each task.
    own : sequence of OwnImages
        A user's own images, scored in addition to `roots`.
    strict : bool
        Raise an error if one of these images can't be used; otherwise it is left out, and written with the reason to
        `out/<task>.rejected.csv`.
    cache, engine, workers
        See `features.extract.extract`; the cache is `out/features` by default.

    Raises
    ------
    UsageError
        If a task does not allow the settings, samples have no labels, or no model is left.
    """
    from .features.mean_intensity import NAME, mean_intensity
    from .features.processes import is_main_process
    from .networks import features_of, settings_of

    # several processes share the computation of features; one of them scores and writes
    mine = {one.task: one for one in own}
    run = EvaluationRun(Path(out), main=is_main_process(), tasks=[*roots, *mine])
    _refuse_equal_names(run.tasks)
    settings_for = {task: task.resolve(settings, task.network_standardisation) for task in run.tasks}
    samples = {task: _read(task, root, settings_for[task]) for task, root in roots.items()}
    samples |= {task: one.samples for task, one in mine.items()}
    for task, found in samples.items():
        for note in (
            *(f"{count:,} {what} left out" for what, count in found.left_out.items()),
            *(mine[task].notes if task in mine else ()),
        ):
            run.note(f"{task.name}: {note}")
    networks, fused = _networks(models, run)
    run.folders = {network.name: Path(network.source) for network in networks if Path(network.source).is_dir()}
    options: dict[str, Any] = {"methods": methods, "engine": engine, "workers": workers}
    computed = {}
    for task, found in samples.items():
        begun = time.perf_counter()
        folder = cache or run.out / "features"
        computed[task] = features_of(task, found, [*networks, mean_intensity()], size=size, cache=folder, **options)
        if task in mine:
            samples[task] = _usable(mine[task], next(iter(computed[task].values())), run, strict=strict)
        run.timed(f"{task.name}: features", begun)
    for task, found in samples.items() if run.main else ():
        for (model, method), features in _with_fusions(computed[task], fused):
            if model == NAME and method != methods[0]:
                continue  # one score of the control is enough
            begun = time.perf_counter()
            chosen = settings_for[task]
            try:
                result = score_features(
                    task,
                    features.to_table(),
                    found,
                    replace(chosen, probe=chosen.probe and method == methods[0]),
                    model=model,
                    preprocess=method,
                    about=settings_of(features),
                )
            except CheckFailedError as error:
                if model != NAME:
                    raise
                run.note(f"{task.name}: {NAME} left out: {error.what}")  # images that are equally bright
                continue
            run.add(result)
            run.timed(f"{task.name}: scores of {model}, {method}", begun)
    return run


def _usable(own: OwnImages, features: Features, run: EvaluationRun, *, strict: bool) -> Samples:
    """Return the samples with features; the others are counted and written to a file."""
    usable = own.usable(features, strict=strict)
    if run.main:
        written = usable.table.write_rejected(run.out / f"{own.task.name}.csv")
        if written:
            count = len(usable.table.rejected)
            run.note(f"{own.task.name}: {count:,} samples can't be used and are left out, see {Path(written).name}")
    return usable.samples


def _refuse_equal_names(tasks: Sequence[Task]) -> None:
    names = [task.name.casefold() for task in tasks]  # files are named by them: macOS and Windows ignore case
    twice = next((task.name for task in tasks if names.count(task.name.casefold()) > 1), None)
    if twice is not None:
        raise UsageError(f"Two tasks are called {twice}", next="Rename one of the tables, folders or zips")


def _read(task: Task, root: Path, settings: EvaluationSettings) -> Samples:
    samples = task.read(root, settings)
    if not (samples.table["label"] != "").all():
        raise UsageError(
            f"The samples of {task.name} have no labels: their features can be computed but not scored",
            where=root,
            next=task.how_to_get,
        )
    return samples


def _networks(models: Sequence[str], run: EvaluationRun) -> tuple[list[Backbone], list[tuple[str, str]]]:
    """Load the networks; return them and the pairs to fuse. What is not available is left out with a note."""
    from .features import backbones

    networks: list[Backbone] = []
    runs: list[str] = []
    for model in dict.fromkeys(models):
        if model == "fusion":
            continue
        what = newest_run() if model == "RUN" else model
        if what is None:
            run.note(
                "There is no training run below ./runs: left out. Train one: cytoimagenet train DIR --out runs/NAME"
            )
            continue
        names = [f"random:{seed}" for seed in range(RANDOM_SEEDS)] if what == "random" else [what]
        try:
            loaded = [backbones.load(name) for name in names]
        except UsageError as error:
            if model != "imagenet":
                raise
            run.note(f"imagenet left out: {error.what}. {error.next or ''}")
            continue
        networks += loaded
        if what != "imagenet" and not what.startswith("random"):
            runs += [network.name for network in loaded]
    if not networks:
        raise UsageError(
            "No model is left to evaluate", next="Name one with --models, or score a table with --features"
        )
    fused = []
    if "fusion" in models:
        if any(network.name == "imagenet" for network in networks) and runs:
            fused = [("imagenet", name) for name in runs]
        else:
            run.note("fusion left out: it needs both imagenet and a training run")
    return networks, fused


def _with_fusions(
    computed: Mapping[tuple[str, str], Features], fused: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], Features]]:
    """Yield features; fused ones last and one at a time, because they are large copies."""
    from .features.fusion import fuse

    yield from computed.items()
    for first, second in fused:
        for method in dict.fromkeys(method for _, method in computed):
            both = fuse(computed[first, method], computed[second, method])
            yield (f"fusion of {first} and {second}", method), both


def newest_run(folder: str | PathLike[str] = "runs") -> str | None:
    """Return the run below `folder` whose weights were written last, or None."""
    weights = sorted(Path(folder).glob("*/model.safetensors"), key=lambda path: (path.stat().st_mtime_ns, str(path)))
    return str(weights[-1].parent) if weights else None


def data_root(given: str | PathLike[str] | None) -> Path:
    """Return the folder of the evaluation sets: the one given, else $CYTOIMAGENET_EVALDATA, else ./evaldata."""
    return Path(given or os.environ.get("CYTOIMAGENET_EVALDATA") or "evaldata")


def task_roots(root: Path, tasks: Sequence[Task]) -> tuple[dict[Task, Path], list[Task]]:
    """Return the folder of each task that has one below `root`, and the tasks without one."""
    roots = {task: root / task.name for task in tasks if (root / task.name).is_dir()}
    return roots, [task for task in tasks if task not in roots]


def finish(run: EvaluationRun) -> dict[str, Any]:
    """Compare the models, write timing.json and the report; return the document of results."""
    from .report.write import command_line, today, write_report

    document = results.pair(run.out)
    # what differs between equal runs is not in results.json, which depends on the input alone
    write_atomic(run.out / "timing.json", json.dumps(run.steps, indent=1).encode())
    facts = {"written": today(), "command": command_line()}
    write_report(document, run.out, tasks=run.tasks, notes=run.notes, steps=run.steps, facts=facts)
    return document
