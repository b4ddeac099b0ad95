"""Train a classifier on a dataset folder, on a CPU, a GPU, or several GPUs started by `torchrun`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from ..builder.errors import UsageError
from ..builder.locks import only_run
from ..builder.storage import is_local
from ..loaders.batches import Batches
from ..loaders.cache import CacheReader, build_cache
from ..loaders.index import Index, read_index
from ..loaders.mapstyle import RowReader
from ..loaders.processes import rank_and_world
from ..loaders.stream import ShardReader, decode_threads
from ..loaders.weights import class_weights
from . import run_folder
from .card import write_card
from .disk import disk_errors
from .model import B0, build_model, prepare_for_training
from .per_class import per_class, summarise
from .plots import plot_history, plot_per_class
from .progress_callback import ProgressCallback
from .recipes import Settings, current_names, settings
from .trainer import CHECKPOINTS_KEPT, EpochTrainer, newest_checkpoint


@dataclass(frozen=True)
class Run:
    """A finished training run.

    Parameters
    ----------
    folder : Path
        The run folder, see `training/run_folder.py`.
    metrics : dict
        Scores of the last epoch: `train_loss`, `train_accuracy`, `validation_accuracy`, `validation_top7`, ...
        Accuracies are in [0, 1].
    """

    folder: Path
    metrics: dict[str, float]


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
        `paper`, `modern`, `quick`, or a YAML file of settings.
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
        If a setting is wrong, the folder contains something else, another run is writing to it, or there is nothing to
        resume.
    SettingsChangedError
        If the folder contains a run with other settings or of another dataset.

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
    subset: dict[str, Any] = {"category": chosen.category, "labels": chosen.labels, "database": chosen.database}
    index = read_index(data_dir, "train", **subset)
    validation = _validation(data_dir, subset)
    folder = Path(out) if out is not None else run_folder.default_folder(chosen.recipe, index.digest)
    rank, world = rank_and_world()
    images = {"train": len(index), "validation": len(validation) if validation is not None else 0}
    facts = run_folder.collect_facts(data_dir, index.digest, images, len(index.class_names), world)
    keep_complete = newest_checkpoint if rank == 0 else bool
    with only_run(folder) if rank == 0 else nullcontext(), disk_errors(folder, keep_complete):
        # every process reads the facts: if only rank 0 knew that the run is finished, the others would wait for it
        facts = (
            run_folder.claim(folder, chosen, facts)
            if rank == 0
            else run_folder.read_facts(folder) or {**facts, "finished": False}
        )
        if facts["finished"]:
            return Run(folder, facts["metrics"])
        trainer = make_trainer(folder, chosen, index, validation, rank, world, callbacks)
        checkpoint = _from_rank_0(newest_checkpoint(folder) if rank == 0 else None)
        torch.manual_seed(chosen.seed * 65_537 + rank)  # each process has its own random rotations
        if checkpoint is not None:
            trainer.restore(checkpoint)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
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
        return read_index(data_dir, "validation", **subset)
    except UsageError:  # none of the classes or images that are kept
        return None


def batches_of(index: Index, chosen: Settings, *, training: bool, rank: int = 0, world: int = 1) -> Batches:
    """Return the batches of a run, read by the loader that its settings name."""
    kind = chosen.loader
    if kind == "auto":
        kind = "map" if is_local(index.root) else "stream"
    balance = training and chosen.balance == "sampling"
    if balance and kind == "stream":
        raise UsageError(
            "balance=sampling needs random access, but loader=stream reads shards in order",
            next="Use --set loader=map, --set loader=cache, or --set balance=loss",
        )
    reader: Any
    if kind == "stream":
        reader = ShardReader(index, chosen.size)
    elif kind == "map":
        reader = RowReader(index, chosen.size, balance=balance)
    else:
        path = build_cache(index.root, size=chosen.size, folder=chosen.cache_dir, workers=chosen.workers)
        reader = CacheReader(index, path, balance=balance)
    workers = chosen.workers
    if workers is None or kind == "stream":
        # the validation split may have fewer shards than the requested number of threads
        workers = decode_threads(workers if training else None, len(index.shards), world)
    return Batches(
        reader,
        batch_size=chosen.batch_size,
        training=training,
        workers=workers,
        seed=chosen.seed,
        rank=rank,
        world=world,
    )


def make_trainer(
    folder: Path,
    chosen: Settings,
    index: Index,
    validation: Index | None,
    rank: int,
    world: int,
    callbacks: Sequence[TrainerCallback],
) -> EpochTrainer:
    """Build the network and the Trainer of a run."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    b0 = {"dropout_rate": chosen.dropout, "drop_connect_rate": chosen.drop_connect, "image_size": chosen.size}
    model, normalisation = build_model(
        chosen.model,
        list(index.class_names),
        seed=chosen.seed,
        pretrained=chosen.pretrained,
        **(b0 if chosen.model == B0 else {}),
    )
    prepare_for_training(
        model,
        norm_momentum=chosen.norm_momentum,
        head_scale=chosen.head_scale,
        residual_scale=chosen.residual_scale if chosen.model == B0 else 1.0,  # never scale pretrained weights
    )
    if chosen.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = batches_of(index, chosen, training=True, rank=rank, world=world)
    validation_batches = None
    if validation is not None:
        validation_batches = batches_of(validation, chosen, training=False, rank=rank, world=world)
    trainer = EpochTrainer(
        model,
        training_arguments(folder, chosen, steps=chosen.epochs * -(-len(batches) // chosen.accumulation), world=world),
        settings=chosen,
        train_dataset=batches,
        eval_dataset=validation_batches,
        normalisation=normalisation,
        class_weights=class_weights(index) if chosen.balance == "loss" else None,
        callbacks=[ProgressCallback(folder, chosen.epochs * len(batches) * chosen.batch_size * world), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # ProgressCallback prints instead
    return trainer


def training_arguments(folder: Path, chosen: Settings, *, steps: int, world: int = 1) -> TrainingArguments:
    """Convert our settings to the Trainer's arguments."""
    gpu = torch.cuda.is_available()
    bf16 = chosen.precision == "bf16" or (chosen.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    if gpu:
        torch.set_float32_matmul_precision("high")  # TF32 for matrix products in fp32
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=chosen.accumulation,
        num_train_epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        lr_scheduler_type="constant_with_warmup" if chosen.schedule == "constant" else "cosine",
        warmup_steps=round(chosen.warmup * steps),
        optim="adamw_torch_fused" if gpu else "adamw_torch",
        weight_decay=chosen.weight_decay,
        adam_epsilon=chosen.epsilon,
        max_grad_norm=chosen.clip,
        bf16=bf16,
        use_cpu=not gpu,
        torch_compile=chosen.compile != "none",
        torch_compile_backend=chosen.compile if chosen.compile != "none" else None,
        ddp_backend="gloo" if world > 1 and not gpu else None,
        ddp_find_unused_parameters=False,
        logging_steps=10,
        save_strategy="no",  # a callback of EpochTrainer decides when
        save_total_limit=CHECKPOINTS_KEPT,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=chosen.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=gpu,
    )
    if args.parallel_mode == transformers.training_args.ParallelMode.NOT_DISTRIBUTED:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs need `torchrun`: no DataParallel threads in one process
    return args


def _finish(trainer: EpochTrainer, folder: Path, facts: dict[str, Any], index: Index, validation: Index | None) -> Run:
    """Evaluate by class and write the files of a finished run."""
    # without validation images the training images are evaluated, without augmentation
    evaluated = trainer.eval_dataset
    if evaluated is None:
        process = {"rank": trainer.args.process_index, "world": trainer.args.world_size}
        evaluated = batches_of(index, trainer.settings, training=False, **process)
    confusion = trainer.confusion(evaluated)
    table = run_folder.history(trainer.state.log_history)
    metrics = {str(name): float(value) for name, value in table.iloc[-1].dropna().items()}
    if trainer.args.process_index != 0:
        return Run(folder, metrics)
    classes = per_class(index, confusion, trained=index, validation=validation)
    summary = summarise(classes)
    run_folder.write_table(folder / run_folder.HISTORY, table)
    plot_history(table, folder, len(index.class_names))
    run_folder.write_table(folder / "per_class.csv", classes)
    plot_per_class(classes, folder / "per_class.png")
    run_folder.save_model(
        folder,
        trainer.best_weights(),
        (trainer.mean.flatten().tolist(), trainer.std.flatten().tolist()),
        trainer.settings.size,
    )
    trainer.state.save_to_json(str(folder / run_folder.STATE))
    facts = {
        **facts,
        "metrics": metrics,
        "classes_summary": summary,
        "evaluated_on": "validation" if validation is not None else "train",
    }
    write_card(folder, trainer.settings, facts, table)
    run_folder.mark_finished(folder, facts)
    return Run(folder, metrics)
