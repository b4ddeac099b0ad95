"""Tasks x models x preprocessing: read and check everything, compute what is missing, score, report."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..builder.console import err
from ..builder.errors import UsageError
from ..builder.storage import write_atomic
from . import tasks
from .evaluate import evaluate
from .protocols.settings import PUBLISHED_WAY, CyclopsLabels, Taxol
from .results import document as results
from .results.score import Result
from .tables.feature_table import read_table

if TYPE_CHECKING:
    from .features.backbones import Backbone
    from .features.extract import Features
    from .scores.standardise import Way
    from .scores.votes import Ties
    from .tasks import Samples

MODELS = ("random", "imagenet", "RUN", "fusion")
RANDOM_SEEDS = 3  # one random initialisation says little about random initialisations


@dataclass(frozen=True)
class Choices:
    """What applies to all tasks of a run; None is the publication's choice."""

    standardise: Way | None = None
    taxol: Taxol = "all"
    ties: Ties = "nearest"
    cyclops_labels: CyclopsLabels = "clean"
    probe: bool = True
    seed: int = 0

    def for_task(self, task: str, default: Way) -> dict[str, Any]:
        """Return the keyword arguments of `evaluate`."""
        return {
            "standardise": self.standardise or default,
            "taxol": self.taxol,
            "ties": self.ties,
            "cyclops_labels": self.cyclops_labels,
            "seed": self.seed,
        }


@dataclass
class Run:
    """A run of the evaluation: its folder, what it wrote, what it says.

    `main` is False in all but one of several processes: they computed features and have nothing to write.
    """

    out: Path
    main: bool = True
    done: list[Result] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something now and in the report."""
        self.notes.append(text)
        if self.main:
            err.print(text, markup=False)

    def timed(self, what: str, since: float) -> None:
        """Note how long a step took and the most memory used until then."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # kilobytes on Linux
        self.steps.append({"step": what, "seconds": round(time.perf_counter() - since, 2), "peak_gb": round(peak, 2)})

    def keep(self, result: Result) -> None:
        """Merge a result into results.json at once: what is done survives a kill."""
        self.done.append(result)
        results.merge(self.out, result)


def score_table(
    table: str | PathLike[str],
    task: str,
    metadata: str | PathLike[str] | None,
    out: str | PathLike[str],
    choices: Choices,
    name: str | None = None,
) -> Run:
    """Score somebody's table of features on one task and write the results.

    Parameters
    ----------
    table : path
        See `tables.read_table`.
    task : str
    metadata : path, optional
        The task's folder; without it the table brings its labels.
    out : path
        Folder for results.json, predictions and report.
    choices : Choices
        Features are used as they are unless it names a way to standardise.
    name : str, optional
        What to call the features; default the file's name.
    """
    run, begun = Run(Path(out), main=os.environ.get("RANK", "0") == "0"), time.perf_counter()
    if not run.main:
        return run  # there is nothing to share out
    read = read_table(table)
    label = name or Path(table).name.split(".")[0]
    result = evaluate(
        task,
        read,
        metadata,
        **choices.for_task(task, "none"),
        probe=choices.probe,
        model=label,
        preprocess="as given",
    )
    run.timed(f"{task}: {label}", begun)
    run.keep(result)
    return run


def score_models(
    roots: dict[str, Path],
    models: Sequence[str],
    out: str | PathLike[str],
    choices: Choices,
    *,
    methods: Sequence[str],
    size: int | None = None,
    cache: str | PathLike[str] | None = None,
    engine: str = "auto",
    workers: int = 2,
) -> Run:
    """Compute features of networks for tasks, score them and write the results.

    Parameters
    ----------
    roots : dict of task to folder
        Every one is read and checked before anything is computed.
    models : sequence of str
        `random` (several seeds), `imagenet`, `RUN` (the newest below ./runs), a run or model of yours, `fusion`
        (ImageNet with each run).
    methods : sequence of str
        Preprocessing; the first is the headline, on which the probe is fitted.
    size, cache, engine, workers
        See `features.extract`; the cache is `out/features` by default.
    """
    from .features.extract import extract, is_main_process
    from .features.mean_intensity import NAME, mean_intensity

    # several processes share the features; scores are made, and written, by one
    run = Run(Path(out), main=is_main_process())
    samples = {task: _read(task, root, choices) for task, root in roots.items()}
    for task, found in samples.items():
        for what, count in found.left_out.items():
            run.note(f"{task}: {count:,} {what} left out")
    networks, fused = _networks(models, run)
    options: dict[str, Any] = {"size": size, "engine": engine, "workers": workers}
    computed = {}
    for task, found in samples.items():
        begun = time.perf_counter()
        place = cache or run.out / "features"
        computed[task] = extract(found, [*networks, mean_intensity()], methods=methods, cache=place, **options)
        run.timed(f"{task}: features", begun)
    for task, found in samples.items() if run.main else ():
        for (model, method), features in _with_fusions(computed[task], fused):
            if model == NAME and method != methods[0]:
                continue  # one line is enough for a control
            begun = time.perf_counter()
            run.keep(_score(found, features, model, method, choices, probe=choices.probe and method == methods[0]))
            run.timed(f"{task}: scores of {model}, {method}", begun)
    return run


def _score(samples: Samples, features: Features, model: str, method: str, choices: Choices, *, probe: bool) -> Result:
    known = ("input_size", "weights", "images", "engine", "full_scale", "constant_channels")
    about = {name: features.settings[name] for name in known if name in features.settings}
    return evaluate(
        samples.task,
        features.to_table(),
        samples,
        **choices.for_task(samples.task, PUBLISHED_WAY[samples.task]),
        probe=probe,
        model=model,
        preprocess=method,
        about=about,
    )


def _read(task: str, root: Path, choices: Choices) -> Samples:
    samples = tasks.read(task, root, **({"labels": choices.cyclops_labels} if task == "cyclops" else {}))
    if not (samples.table["label"] != "").all():
        raise UsageError(
            f"The samples of {task} have no labels: they can be shown to a network but not scored",
            where=root,
            next=tasks.module(task).HOW_TO_GET,
        )
    return samples


def _networks(models: Sequence[str], run: Run) -> tuple[list[Backbone], list[tuple[str, str]]]:
    """Load the networks; return them and the pairs to fuse. What can't be had is left out, and said so."""
    from .features import backbones

    found: list[Backbone] = []
    runs: list[str] = []
    for model in dict.fromkeys(models):
        if model == "fusion":
            continue
        what = newest_run() if model == "RUN" else model
        if what is None:
            run.note(
                "No training run lies below ./runs: left out. Make one with: cytoimagenet train DIR --out runs/NAME"
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
        found += loaded
        if what != "imagenet" and not what.startswith("random"):
            runs += [network.name for network in loaded]
    if not found:
        raise UsageError(
            "No model is left to evaluate", next="Name one with --models, or score a table with --features"
        )
    fused = []
    if "fusion" in models:
        if any(network.name == "imagenet" for network in found) and runs:
            fused = [("imagenet", name) for name in runs]
        else:
            run.note("fusion left out: it joins imagenet and a training run, and one of them is not here")
    return found, fused


def _with_fusions(
    computed: dict[tuple[str, str], Features], fused: Sequence[tuple[str, str]]
) -> Iterator[tuple[tuple[str, str], Features]]:
    """Yield features, fused ones last and one at a time: they are copies, and large."""
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
    """Return where the evaluation sets lie: as given, else $CYTOIMAGENET_EVALDATA, else ./evaldata."""
    return Path(given or os.environ.get("CYTOIMAGENET_EVALDATA") or "evaldata")


def task_roots(root: Path, wanted: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the folders of the tasks that have one, and how to get the others."""
    here = {task: root / task for task in wanted if (root / task).is_dir()}
    missing = {task: tasks.module(task).HOW_TO_GET for task in wanted if task not in here}
    return here, missing


def finish(run: Run) -> dict[str, Any]:
    """Write how long it took, and the report; return the document of results."""
    from .report.write import write_report

    document = results.pair(run.out)
    # what differs from run to run stays out of results.json, which equal input makes equal
    write_atomic(run.out / "timing.json", json.dumps(run.steps, indent=1).encode())
    write_report(document, run.out, notes=run.notes, steps=run.steps)
    return document
