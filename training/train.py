"""Train a classifier on a dataset folder: one call, on a CPU, a GPU, or several under `torchrun`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from ..builder.errors import UsageError
from ..builder.storage import is_local
from ..loaders.batches import Batches
from ..loaders.cache import CacheSource, build_cache
from ..loaders.index import Index, read_index
from ..loaders.mapstyle import RowSource
from ..loaders.processes import place
from ..loaders.stream import ShardSource, threads
from ..loaders.weights import class_weights
from . import run_folder as run
from .card import write_card
from .model import B0, adjust, build_model
from .per_class import per_class, summarise
from .plots import draw_history, draw_per_class
from .progress_callback import Reporter
from .recipes import Settings, settings
from .trainer import CHECKPOINTS, EpochTrainer, newest_checkpoint


@dataclass(frozen=True)
class Run:
    """A finished training.

    Parameters
    ----------
    folder : Path
        The run folder, see `training.run`.
    metrics : dict
        Scores of the last epoch: `train_loss`, `train_accuracy`, `validation_accuracy`, `validation_top7`, ...
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
    """Train a classifier, or go on with a training that was cut off: the weights come out the same to the bit.

    Parameters
    ----------
    data_dir : str or path
        A dataset folder, local or a URL.
    out : str or path, optional
        The run folder; by default `runs/<recipe>-<first 8 of the dataset's digest>`.
    recipe : str or path
        `paper`, `modern`, `quick`, or a YAML file.
    resume : bool
        Take the settings from the run folder. Without it, the same call as before goes on too.
    callbacks : sequence of TrainerCallback
        Further ones.
    **changes
        Settings to set otherwise, see `recipes.Settings`.

    Returns
    -------
    Run
        A run that is already finished is returned as it is.

    Raises
    ------
    UsageError
        If a setting is wrong, the folder holds another run, or there is nothing to resume.

    Examples
    --------
    >>> train("cytoimagenet", "runs/first", recipe="quick", epochs=3).metrics["train_accuracy"]      # doctest: +SKIP
    0.31
    """
    data_dir = fspath(data_dir)
    chosen = settings(recipe, **changes)
    if resume:
        chosen = _resumed(out, data_dir, chosen, changes)
    subset: dict[str, Any] = {"category": chosen.category, "labels": chosen.labels, "source": chosen.source}
    index = read_index(data_dir, "train", **subset)
    validation = _validation(data_dir, subset)
    folder = Path(out) if out is not None else run.default_folder(chosen.recipe, index.digest)
    rank, world = place()
    images = {"train": len(index), "validation": len(validation) if validation is not None else 0}
    facts = run.facts_of(data_dir, index.digest, images, len(index.class_names), world)
    # every process must see that there is nothing to do, or the others would wait for rank 0 for ever
    facts = run.claim(folder, chosen, facts) if rank == 0 else run.known(folder) or {**facts, "finished": False}
    if facts["finished"]:
        return Run(folder, facts["metrics"])
    trainer = _trainer(folder, chosen, index, validation, rank, world, callbacks)
    checkpoint = _from_rank_0(newest_checkpoint(folder) if rank == 0 else None)
    torch.manual_seed(chosen.seed * 65_537 + rank)  # each process draws its own rotations
    if checkpoint is not None:
        trainer.restore(checkpoint)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    done = _finish(trainer, folder, facts, index, validation)
    _from_rank_0(None)  # no process leaves before the run folder is complete
    return done


def _from_rank_0(value: Any) -> Any:
    """Return rank 0's value on every process."""
    if not torch.distributed.is_initialized():
        return value
    held = [value]
    torch.distributed.broadcast_object_list(held, src=0)
    return held[0]


def _resumed(out: Any, data_dir: str, chosen: Settings, changes: dict[str, Any]) -> Settings:
    folder = Path(out) if out is not None else run.default_folder(chosen.recipe, read_index(data_dir).digest)
    before = run.stored_settings(folder)
    if before is None:
        raise UsageError("There is no run to resume", where=folder, next="Leave out --resume to start one")
    return settings(before.recipe, **{**{k: v for k, v in vars(before).items() if k != "recipe"}, **changes})


def _validation(data_dir: str, subset: dict[str, Any]) -> Index | None:
    from ..builder.dataset.manifest import Manifest

    if not Manifest.load(data_dir).rows("validation"):
        return None
    try:
        return read_index(data_dir, "validation", **subset)
    except UsageError:  # the part that is trained on has no validation images
        return None


def batches_of(index: Index, chosen: Settings, *, training: bool, rank: int = 0, world: int = 1) -> Batches:
    """Return the batches a run reads, by the loader its settings name."""
    kind = chosen.loader
    if kind == "auto":
        kind = "map" if is_local(index.root) else "stream"
    balance = training and chosen.balance == "sampling"
    if balance and kind == "stream":
        raise UsageError(
            "Sampling by class needs random access; a stream reads shards in order",
            next="Use --set loader=map or loader=cache, or balance=loss",
        )
    source: Any
    if kind == "stream":
        source = ShardSource(index, chosen.size)
    elif kind == "map":
        source = RowSource(index, chosen.size, balance=balance)
    else:
        path = build_cache(index.root, size=chosen.size, folder=chosen.cache_dir, workers=chosen.workers)
        source = CacheSource(index, path, balance=balance)
    workers = chosen.workers
    if workers is None or kind == "stream":
        # a validation split may have fewer shards than were meant for training
        workers = threads(workers if training else None, len(index.shards), world)
    return Batches(
        source,
        batch_size=chosen.batch_size,
        training=training,
        workers=workers,
        seed=chosen.seed,
        rank=rank,
        world=world,
    )


def _trainer(
    folder: Path,
    chosen: Settings,
    index: Index,
    validation: Index | None,
    rank: int,
    world: int,
    callbacks: Sequence[TrainerCallback],
) -> EpochTrainer:
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
    adjust(
        model,
        norm_momentum=chosen.norm_momentum,
        head_scale=chosen.head_scale,
        residual_scale=chosen.residual_scale if chosen.model == B0 else 1.0,  # never on weights that were learnt
    )
    if chosen.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = batches_of(index, chosen, training=True, rank=rank, world=world)
    held_out = None
    if validation is not None:
        held_out = batches_of(validation, chosen, training=False, rank=rank, world=world)
    trainer = EpochTrainer(
        model,
        arguments(folder, chosen, steps=chosen.epochs * -(-len(batches) // chosen.accumulation), world=world),
        settings=chosen,
        train_dataset=batches,
        eval_dataset=held_out,
        normalisation=normalisation,
        class_weights=class_weights(index) if chosen.balance == "loss" else None,
        callbacks=[Reporter(folder, chosen.epochs * len(batches) * chosen.batch_size * world), *callbacks],
    )
    trainer.remove_callback(PrinterCallback)  # ours speaks instead
    return trainer


def arguments(folder: Path, chosen: Settings, *, steps: int, world: int = 1) -> TrainingArguments:
    """Say our settings in the Trainer's words."""
    gpu = torch.cuda.is_available()
    bf16 = chosen.precision == "bf16" or (chosen.precision == "auto" and gpu and torch.cuda.is_bf16_supported())
    if gpu:
        torch.set_float32_matmul_precision("high")  # TF32 where the weights stay in fp32
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
        save_strategy="no",  # the callback of the trainer says when
        save_total_limit=CHECKPOINTS,
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=chosen.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=gpu,
    )
    if args.parallel_mode == transformers.training_args.ParallelMode.NOT_DISTRIBUTED:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs take `torchrun`, not threads of one process
    return args


def _finish(trainer: EpochTrainer, folder: Path, facts: dict[str, Any], index: Index, validation: Index | None) -> Run:
    """Evaluate class by class and write what a run leaves."""
    # without validation images the table tells of the training images, in order and as they are
    plain = trainer.eval_dataset
    if plain is None:
        place_in = {"rank": trainer.args.process_index, "world": trainer.args.world_size}
        plain = batches_of(index, trainer.settings, training=False, **place_in)
    counted = trainer.confusion(plain)
    table = run.history(trainer.state.log_history)
    metrics = {str(name): float(value) for name, value in table.iloc[-1].dropna().items()}
    if trainer.args.process_index != 0:
        return Run(folder, metrics)
    classes = per_class(index, counted, trained=index, held_out=validation)
    summary = summarise(classes)
    run.write_table(folder / run.HISTORY, table)
    draw_history(table, folder, len(index.class_names))
    run.write_table(folder / "per_class.csv", classes)
    draw_per_class(classes, folder / "per_class.png")
    run.keep_model(
        folder,
        trainer.best_weights(),
        (trainer.mean.flatten().tolist(), trainer.std.flatten().tolist()),
        trainer.settings.size,
    )
    trainer.state.save_to_json(str(folder / run.STATE))
    facts = {
        **facts,
        "metrics": metrics,
        "classes_summary": summary,
        "evaluated_on": "validation" if validation is not None else "train",
    }
    write_card(folder, trainer.settings, facts, table)
    run.finish(folder, facts)
    return Run(folder, metrics)
