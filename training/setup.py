"""Build the network and the Trainer of a run from its settings."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import accelerate.optimizer
import torch
import transformers
from torch import nn
from transformers import PrinterCallback, TrainerCallback, TrainingArguments

from ..builder import console
from ..loaders.index import Index
from ..loaders.weights import class_weights
from . import reporting, scaling
from .compilation import choose_mode
from .device import describe_device, uses_bf16
from .feeding import batches_of
from .model import build_model, prepare_for_training
from .model_names import resolve
from .objective import Objective
from .progress_callback import ProgressCallback
from .recipes import Settings
from .trainer import EpochTrainer
from .trial import try_network

LOGGING_STEPS = 50  # steps between two entries of the log; fewer in runs of less than 1,000 steps


@dataclass(frozen=True)
class Network:
    """The network of a run.

    Parameters
    ----------
    module : Module
        A `transformers` image classifier.
    normalisation : (mean, std)
        Normalisation of its input, for pixels in [0, 1].
    frozen : tuple of str
        Names of the weights that are not trained, since the scores do not depend on them.
    """

    module: nn.Module
    normalisation: tuple[Sequence[float], Sequence[float]]
    frozen: tuple[str, ...] = ()


def make_network(chosen: Settings, class_names: Sequence[str]) -> Network:
    """Build the network of a run, and try it with one small batch.

    Raises
    ------
    UsageError
        If there is no such network, or it can't be trained on these images; see `trial.try_network`.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    b0 = {"dropout_rate": chosen.dropout, "drop_connect_rate": chosen.drop_connect, "image_size": chosen.size}
    is_b0 = resolve(chosen.model).kind == "random"
    model, normalisation = build_model(
        chosen.model, list(class_names), seed=chosen.seed, pretrained=chosen.pretrained, **(b0 if is_b0 else {})
    )
    channels, classes = len(normalisation[0]), len(class_names)
    frozen = try_network(model, chosen.model, size=chosen.size, channels=channels, classes=classes)
    for name in frozen:  # several processes would wait for their gradients
        model.get_parameter(name).requires_grad_(False)
    prepare_for_training(
        model,
        norm_momentum=chosen.norm_momentum,
        head_scale=chosen.head_scale,
        residual_scale=chosen.residual_scale if is_b0 else 1.0,  # never scale pretrained weights
    )
    return Network(model, normalisation, tuple(frozen))


def make_trainer(
    folder: Path,
    chosen: Settings,
    index: Index,
    validation: Index | None,
    rank: int,
    world: int,
    callbacks: Sequence[TrainerCallback],
    network: Network | None = None,
) -> EpochTrainer:
    """Build the Trainer of a run, and its network if it is not given."""
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    _look_once_for_packages()
    network = network or make_network(chosen, index.class_names)
    model = network.module
    if chosen.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = batches_of(index, chosen, training=True, rank=rank, world=world)
    validation_batches = None
    if validation is not None:
        validation_batches = batches_of(validation, chosen, training=False, rank=rank, world=world)
    steps = chosen.epochs * -(-len(batches) // chosen.accumulation)
    mode, reason = choose_mode(chosen, batches=chosen.epochs * len(batches), world=world)
    images_per_step = chosen.batch_size * chosen.accumulation * world
    if rank == 0:
        console.err.print(_start_line(chosen, index, validation, steps=steps, world=world), markup=False)
        if network.frozen:
            console.err.print(f"Not trained, since the scores do not depend on them: {', '.join(network.frozen)}.")
        console.err.print(scaling.describe(chosen, images_per_step=images_per_step, world=world, steps=steps))
        if torch.cuda.is_available():
            console.err.print(f"Compilation of the network: {mode}; {reason}.")
    arguments = training_arguments(folder, chosen, steps=steps, images_per_step=images_per_step, world=world)
    objective = Objective(
        chosen,
        len(index.class_names),
        network.normalisation,
        arguments.device,
        class_weights=class_weights(index) if chosen.balance == "loss" else None,
        bf16=uses_bf16(chosen),
    )
    trainer = EpochTrainer(
        model,
        arguments,
        objective=objective,
        train_dataset=batches,
        eval_dataset=validation_batches,
        decay=scaling.average_decay(chosen, steps),
        mode=mode,
        callbacks=[
            ProgressCallback(folder, chosen.epochs * len(batches) * chosen.batch_size * world),
            *reporting.callbacks(chosen),
            *callbacks,
        ],
    )
    trainer.remove_callback(PrinterCallback)  # ProgressCallback prints instead
    return trainer


def _look_once_for_packages() -> None:
    """Remember whether an optional package of accelerate is installed: it would look on the disk twice in a step."""
    found = getattr(accelerate.optimizer, "is_lomo_available", None)
    if found is not None and not hasattr(found, "cache_info"):
        accelerate.optimizer.is_lomo_available = functools.cache(found)


def _start_line(chosen: Settings, index: Index, validation: Index | None, *, steps: int, world: int) -> str:
    """Return where a run trains, on what, and how long in steps."""
    images = f"{len(index):,} images of {len(index.class_names):,} classes, {chosen.size} px"
    evaluated = f"; {len(validation):,} images to validate" if validation is not None else ""
    passes = f"{chosen.epochs:,} epoch{'s' * (chosen.epochs != 1)}, {steps:,} step{'s' * (steps != 1)}"
    return (
        f"Training on {describe_device(world)}: {images}{evaluated}. {passes}. "
        f"The expected time follows after {_logging_steps(steps)} steps."
    )


def _logging_steps(steps: int) -> int:
    """Return the number of steps between two entries of the log: a logged step waits for the device."""
    return LOGGING_STEPS if steps >= 20 * LOGGING_STEPS else 10


def training_arguments(
    folder: Path, chosen: Settings, *, steps: int, images_per_step: int, world: int = 1
) -> TrainingArguments:
    """Convert our settings to the Trainer's arguments.

    Parameters
    ----------
    folder : Path
        The run folder.
    chosen : Settings
    steps : int
        Number of steps of the run.
    images_per_step : int
        Number of images per step of all processes together.
    world : int
        Number of processes.
    """
    gpu = torch.cuda.is_available()
    args = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=chosen.batch_size,
        gradient_accumulation_steps=chosen.accumulation,
        num_train_epochs=chosen.epochs,
        learning_rate=scaling.scaled_rate(chosen, images_per_step),
        lr_scheduler_type="constant_with_warmup" if chosen.schedule == "constant" else "cosine",
        warmup_steps=round(chosen.warmup * steps),
        optim="adamw_torch_fused" if gpu else "adamw_torch",
        weight_decay=chosen.weight_decay,
        adam_epsilon=chosen.epsilon,
        max_grad_norm=chosen.clip,
        # EpochTrainer computes in bf16 and compiles itself: accelerate would do so around the network's forward, where
        # a compiler finds several graphs
        bf16=False,
        use_cpu=not gpu,
        ddp_backend="gloo" if world > 1 and not gpu else None,
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,  # those of rank 0 are saved, and evaluated
        logging_steps=_logging_steps(steps),
        logging_nan_inf_filter=False,  # would read each loss from the device, and hide one that is not finite
        save_strategy="no",  # a callback of EpochTrainer decides when
        eval_strategy="no",
        report_to="none",  # the callbacks of `reporting` do so
        run_name=folder.name,
        disable_tqdm=True,
        seed=chosen.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        dataloader_pin_memory=gpu,
    )
    if args.parallel_mode == transformers.training_args.ParallelMode.NOT_DISTRIBUTED:
        args._n_gpu = min(args.n_gpu, 1)  # several GPUs need `torchrun`: no DataParallel threads in one process
    return args
