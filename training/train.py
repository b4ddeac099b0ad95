"""Train a classifier on a dataset folder, on a CPU, a GPU, or several GPUs started by `torchrun`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ..builder import console
from ..builder.errors import UsageError
from ..builder.locks import only_run
from ..loaders.index import Index, read_index
from ..loaders.processes import rank_and_world
from ..loaders.worker_processes import deaths_reported
from . import best, reporting, run_folder
from .card import write_card
from .checkpoints import newest_checkpoint
from .device import device_flags
from .disk import disk_errors
from .division import divide
from .feeding import batches_of, data_loader
from .per_class import per_class, summarise
from .plots import plot_history, plot_per_class
from .recipes import Settings, current_names, settings
from .setup import make_network, make_trainer
from .trainer import EpochTrainer


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Parameters
    ----------
    folder : Path
        The run folder, see `training/run_folder.py`.
    metrics : dict
        Scores of the epoch whose weights are kept: `train_loss`, `train_accuracy`, `validation_accuracy`,
        `validation_accuracy_any_label`, ... Accuracies are in [0, 1].
    images, classes : int
        Number of training images and of classes.
    size : int
        Side of the input in pixels.
    """

    folder: Path
    metrics: dict[str, float]
    images: int
    classes: int
    size: int

    def __repr__(self) -> str:
        scores = "".join(
            f", {name.replace('_', ' ')} {self.metrics[name]:.1%}"
            for name in ("train_accuracy", "validation_accuracy")
            if name in self.metrics
        )
        return f"Run({self.folder}: train, {self.images:,} images, {self.classes:,} classes, {self.size} px{scores})"


def train(
    data_dir: str | PathLike[str],
    out: str | PathLike[str] | None = None,
    *,
    recipe: str | PathLike[str] = "quick",
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
    **changes: Any,
) -> Run:
    """Train a classifier on a dataset folder, or resume an interrupted training run.

    A resumed run ends with weights that are bit-identical to those of an uninterrupted one.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder, local or a URL.
    out : str or path, optional
        The run folder; by default `runs/<recipe>-<first 8 digits of the dataset's digest>`.
    recipe : str or path
        `adapt`, `paper`, `modern`, `quick`, or a YAML file of settings.
    resume : bool
        Use the settings stored in the run folder. Without it, repeating the same call also resumes the run.
    callbacks : sequence of TrainerCallback
        Additional callbacks for the Trainer.
    **changes
        Settings that differ from the recipe, e.g. `epochs=3`; see `training/recipes.py`.

    Returns
    -------
    Run
        A run that is already finished is not trained again.

    Raises
    ------
    UsageError
        If a setting is wrong, the network can't be trained on such images, the folder contains something else, another
        run is writing to it, or there is nothing to resume.
    SettingsChangedError
        If the folder contains a run with other settings or of another dataset.
    DivergedError
        If the loss is no longer finite. The run is not finished, and its last good checkpoint stays.

    Examples
    --------
    >>> train("cytoimagenet", "runs/first", recipe="quick", epochs=3).metrics["train_accuracy"]      # doctest: +SKIP
    0.31
    """
    data_dir = fspath(data_dir)
    changes = current_names(changes)
    chosen = settings(recipe, **changes)
    if resume:
        chosen = _resumed(out, data_dir, chosen, changes)
    subset: dict[str, Any] = {name: getattr(chosen, name) for name in ("category", "labels", "database", "quality")}
    index = read_index(data_dir, "train", **subset, alternatives=True)
    validation = _validation(data_dir, subset)
    if validation is None and (chosen.keep == "best" or chosen.patience):
        raise UsageError(
            "keep=best and patience need validation images, and there are none",
            where=data_dir,
            next="Use --set keep=last --set patience=0",
        )
    reporting.check(chosen.report_to)
    folder = Path(out) if out is not None else run_folder.default_folder(chosen.recipe, index.digest)
    before = run_folder.read_facts(folder)
    # tried before the folder is claimed; a finished run needs no network
    network = None if before and before["finished"] else make_network(chosen, index.class_names)
    rank, world = rank_and_world()
    images = {"train": len(index), "validation": len(validation) if validation is not None else 0}
    facts = run_folder.collect_facts(data_dir, index.digest, images, len(index.class_names))
    facts["audit"] = index.audit
    facts["images_per_step"] = chosen.batch_size * chosen.accumulation * world
    alone = only_run(folder) if rank == 0 else nullcontext()
    with alone, disk_errors(folder, newest_checkpoint if rank == 0 else None):
        # every process reads the facts: if only rank 0 knew that the run is finished, the others would wait for it
        facts = (
            run_folder.claim(folder, chosen, facts)
            if rank == 0
            else run_folder.read_facts(folder) or {**facts, "finished": False}
        )
        if facts["finished"]:
            return Run(folder, facts["metrics"], len(index), len(index.class_names), chosen.size)
        stored = run_folder.stored_settings(folder) or chosen
        chosen = divide(chosen, facts["images_per_step"], world, accumulation=stored.accumulation)
        with device_flags(chosen), deaths_reported():
            trainer = make_trainer(folder, chosen, index, validation, rank, world, callbacks, network)
            checkpoint = _from_rank_0(newest_checkpoint(folder) if rank == 0 else None)
            step = 0 if checkpoint is None else trainer.restore(checkpoint)
            # each process has its own random rotations; after a change of their number there are no stored generators
            torch.manual_seed(chosen.seed * 65_537 + rank + step * 1_000_003)
            if rank == 0:
                facts = run_folder.note_division(folder, facts, chosen, step=step, world=world)
                if step:
                    console.err.print(f"Continuing after step {step:,}.")
            try:
                trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            except BaseException as error:
                reporting.end_failed(trainer.callback_handler.callbacks, error)
                raise
            finally:
                trainer.close()
            finished = _finish(trainer, folder, facts, index, validation)
        _from_rank_0(None)  # no process returns before the run folder is complete
        return finished


def _from_rank_0(value: Any) -> Any:
    """Return rank 0's value on every process."""
    if not torch.distributed.is_initialized():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


def _resumed(out: Any, data_dir: str, chosen: Settings, changes: dict[str, Any]) -> Settings:
    """Return the settings stored in the run folder, with the changes."""
    folder = Path(out) if out is not None else run_folder.default_folder(chosen.recipe, read_index(data_dir).digest)
    before = run_folder.stored_settings(folder)
    if before is None:
        raise UsageError("There is no run to resume", where=folder, next="Leave out --resume to start one")
    return settings(before.recipe, **{**{k: v for k, v in vars(before).items() if k != "recipe"}, **changes})


def _validation(data_dir: str, subset: dict[str, Any]) -> Index | None:
    """Return the index of the validation images, or None if there are none."""
    from ..builder.dataset.manifest import Manifest

    if not Manifest.load(data_dir).rows("validation"):
        return None
    try:
        return read_index(data_dir, "validation", **subset, alternatives=True)
    except UsageError:  # none of the classes or images that are kept
        return None


def _finish(trainer: EpochTrainer, folder: Path, facts: dict[str, Any], index: Index, validation: Index | None) -> Run:
    """Evaluate by class and write the files of a finished run."""
    last, found = trainer.state.global_step, trainer.best
    is_best_another = found is not None and found.step != last
    kept = last
    if found is not None and is_best_another and trainer.settings.keep == "best":
        kept = found.step
        _from_rank_0(None)  # rank 0 has written the weights
        trainer.load_best()
    step, confusion = trainer.last_confusion or (-1, None)
    if confusion is None or step != kept:  # other weights, no validation images, or resumed after the last step
        evaluated = trainer.eval_dataset
        if evaluated is None:  # the training images, without augmentation
            process = {"rank": trainer.args.process_index, "world": trainer.args.world_size}
            evaluated = batches_of(index, trainer.settings, training=False, **process)
        confusion = trainer.confusion(data_loader(evaluated, trainer.args.device))
        trainer.stop_if_diverged({"eval_loss": confusion.loss})
    table = run_folder.history(trainer.state.log_history)
    row = table[table["step"] == kept].iloc[-1]
    metrics = {str(name): float(value) for name, value in row.dropna().items()}
    run = Run(folder, metrics, len(index), len(index.class_names), trainer.settings.size)
    if trainer.args.process_index != 0:
        return run
    if trainer.has_no_patience and found is not None:
        console.err.print(
            f"Stopped early: the validation accuracy of epoch {found.epoch} was not exceeded in "
            f"{found.evaluations_since} evaluation{'s' * (found.evaluations_since != 1)}."
        )
    classes = per_class(index, confusion, trained=index, validation=validation)
    summary = summarise(classes)
    run_folder.write_table(folder / run_folder.HISTORY, table)
    plot_history(table, folder, len(index.class_names))
    run_folder.write_table(folder / "per_class.csv", classes)
    plot_per_class(classes, folder / "per_class.png")
    run_folder.save_model(
        folder,
        trainer.evaluated_network(),
        (trainer.objective.mean.flatten().tolist(), trainer.objective.std.flatten().tolist()),
        trainer.settings.size,
    )
    trainer.state.save_to_json(str(folder / run_folder.STATE))
    facts = {
        **facts,
        "metrics": metrics,
        "classes_summary": summary,
        "evaluated_on": "validation" if validation is not None else "train",
        "kept_epoch": int(row["epoch"]),
        "best": None if found is None else {"epoch": found.epoch, "step": found.step, "accuracy": found.accuracy},
    }
    if found is not None and is_best_another and kept == last:
        best.keep_beside(folder, found.step)
    write_card(folder, trainer.settings, facts, table)
    run_folder.mark_finished(folder, facts)
    return run
