"""The training loop: `transformers`' Trainer over batches that are already divided among the processes.

Differences from the Trainer:

- The training loader is not passed to accelerate, which would divide the batches a second time.
- Augmentation and loss are computed on the device, in the precision that the settings name.
- A step never reads a value from the device, except when something is logged: a GPU always has work queued.
- Evaluation counts every validation image once, with any number of processes.
- A checkpoint is written while training continues. It also contains the averaged weights and the counts and parts of
  its epoch so far, so that another number of processes can resume.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments

from ..builder import console
from ..builder.errors import SettingsChangedError
from ..loaders.batches import Batches
from ..loaders.order import Part
from ..loaders.transforms import to_float
from .average import MovingAverage
from .checkpoints import EXTRA_STATE, CheckpointWriter, checkpoint_folder, read_progress
from .compilation import Mode, compile_network, stop_compiling
from .confusion import Confusion, ConfusionCounter
from .epoch_counts import EpochCounts
from .feeding import data_loader
from .objective import Objective


class EpochTrainer(Trainer):
    """A Trainer that follows our settings.

    Parameters
    ----------
    model : Module
        A `transformers` image classifier.
    args : TrainingArguments
    objective : Objective
    train_dataset, eval_dataset : Batches
    decay : float
        Decay of the moving average of the weights; 0 for none.
    mode : {"none", "inductor", "reduce-overhead", "eager"}
        How to compile the network.
    """

    train_dataset: Batches
    eval_dataset: Batches | None

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        objective: Objective,
        train_dataset: Batches,
        eval_dataset: Batches | None,
        decay: float = 0.0,
        mode: Mode = "none",
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, callbacks=[*callbacks])
        self.objective = objective
        self.settings = objective.settings
        self.network = model  # without the wrappers that accelerate adds
        # our loss is a mean over the batch: the Trainer itself must divide it by the number of accumulated batches
        self.model_accepts_loss_kwargs = False
        self.average = MovingAverage(model, decay) if decay else None
        self.counts = EpochCounts(args.device)
        self.mode = mode
        compile_network(model, mode)
        self._may_compile_in_vain = self.settings.compile == "auto" and train_dataset.world == 1
        self.parts_before: tuple[Part, ...] = ()  # parts of the resumed epoch
        self.resumed_at = 0  # step at which this process started
        self.last_confusion: tuple[int, Confusion] | None = None  # step and result of the last evaluation
        self.writer = CheckpointWriter(Path(str(args.output_dir)))
        self.add_callback(_EpochSchedule(self))

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch; the same for any number of processes."""
        return -(-len(self.train_dataset) // self.args.gradient_accumulation_steps)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the batches, which are already divided among the processes."""
        return data_loader(self.train_dataset, self.args.device)

    @cached_property
    def _evaluation_loader(self) -> DataLoader[Any]:
        assert self.eval_dataset is not None
        return data_loader(self.eval_dataset, self.args.device)

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the weights that decay: matrices and kernels, but no biases and no BatchNorm."""
        return [name for name, weight in model.named_parameters() if weight.ndim > 1]

    def to_device(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Copy the images and labels of a batch to the device without waiting for it."""
        device = self.args.device
        return batch["images"].to(device, non_blocking=True), batch["labels"].to(device, non_blocking=True)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Compute loss and gradients of a batch, and count its right answers.

        Returns
        -------
        Tensor, shape ()
            The loss, divided by the number of batches of the step.
        """
        if not model.training:  # visiting all modules in each step would take a millisecond of the host
            model.train()
        images, labels = self.to_device(inputs)
        try:
            step_loss, loss, logits = self._forward_and_backward(model, images, labels)
        except Exception as error:
            if self.mode == "none" or not self._may_compile_in_vain:
                raise
            self.mode = "none"
            stop_compiling(self.network)
            model.zero_grad()
            step_loss, loss, logits = self._forward_and_backward(model, images, labels)
            cause = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
            console.err.print(f"Note: the network is not compiled, since that failed: {cause}", markup=False)
        self._may_compile_in_vain = False
        self.counts.add(loss, logits, labels)
        return step_loss

    def _forward_and_backward(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.mode == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # the memory of the step before may be used again
        loss, logits = self.objective(model, images, labels)
        batches = self.current_gradient_accumulation_steps
        step_loss = loss if batches == 1 else loss / batches
        step_loss.backward()
        return step_loss.detach(), loss.detach(), logits

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the norm of the gradient that clipping computed.

        Without clipping the Trainer computes it for the log, and multiplies all gradients by 1.
        """
        return grad_norm

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Evaluate on the validation images, with the averaged weights if there are any."""
        confusion = self.confusion(self._evaluation_loader)
        self.last_confusion = self.state.global_step, confusion
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in confusion.metrics().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def confusion(self, loader: DataLoader[Any]) -> Confusion:
        """Count the answers of the network for each class, over all processes.

        Parameters
        ----------
        loader : DataLoader
            See `feeding.data_loader`.
        """
        network = self.best_weights()
        if torch.distributed.is_initialized():  # BatchNorm statistics differ between processes; use those of rank 0
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        was_training = network.training
        network.eval()
        counter = ConfusionCounter(self.objective.classes, self.args.device)
        with self.objective.autocast():  # around all batches: the weights are converted to bfloat16 once
            for batch in loader:
                images, labels = self.to_device(batch)
                # not network(...): a compiled network would be compiled again for evaluation and for the last batch
                logits = network.forward(pixel_values=self.objective.inputs(to_float(images))).logits
                counter.add(logits.float(), labels)
        network.train(was_training)
        return counter.total()

    def best_weights(self) -> nn.Module:
        """Return the network that is evaluated and saved: the averaged one, or without averaging the trained one."""
        return self.network if self.average is None else self.average.module

    def _parts(self) -> list[Part]:
        """Return the parts of the current epoch that were trained on."""
        accumulation = self.args.gradient_accumulation_steps
        begin = self.state.global_step // self.steps_per_epoch * self.steps_per_epoch
        before = list(self.parts_before) if self.resumed_at > begin else []
        batches = (self.state.global_step - max(begin, self.resumed_at)) * accumulation
        here = Part(self.train_dataset.world, self.train_dataset.batch_size, accumulation, batches)
        if before and before[-1][:3] == here[:3]:  # nothing changed: one part
            here = here._replace(batches=before.pop().batches + batches)
        return [*before, here] if here.batches else before

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        step = self.state.global_step
        folder = checkpoint_folder(Path(str(self.args.output_dir)), step)
        folder.mkdir(parents=True, exist_ok=True)
        self._save_rng_state(str(folder))  # a few kB of each process
        extra = {"counts": self.counts.total()}  # these arrive after every process has written its part
        if not self.args.should_save:
            return
        if self.average is not None:
            extra |= {f"average.{name}": tensor for name, tensor in self.average.state().items()}
        network: Any = self.network
        self.writer.write(
            {"step": step, "steps_per_epoch": self.steps_per_epoch, "parts": self._parts()},
            weights=network.state_dict(),
            extra=extra,
            optimizer=self.optimizer.state_dict(),
            schedule=self.lr_scheduler.state_dict(),
            trainer_state=json.dumps(dataclasses.asdict(self.state), indent=2, sort_keys=True) + "\n",
            config=network.config.to_json_string(),
        )

    def restore(self, checkpoint: Path) -> int:
        """Restore the part of a checkpoint that the Trainer does not, and skip the images already trained on.

        Returns
        -------
        int
            The step of the checkpoint.
        """
        progress = read_progress(checkpoint)
        if progress.get("steps_per_epoch") != self.steps_per_epoch:
            raise SettingsChangedError(
                "This checkpoint was written by a version that divided the images otherwise",
                where=checkpoint,
                next="Name another folder with --out, or continue with the version that wrote it",
            )
        state = load_file(checkpoint / EXTRA_STATE)
        if self.args.process_index == 0:  # the file contains the sums over all processes
            self.counts.restore(state.pop("counts"))
        if self.average is not None:
            self.average.load(
                {name.removeprefix("average."): value for name, value in state.items() if name != "counts"}
            )
        self.resumed_at = progress["step"]
        self.parts_before = tuple(Part(*part) for part in progress["parts"])
        if self.parts_before:
            self.train_dataset.resume(self.resumed_at // self.steps_per_epoch, self.parts_before)
        return self.resumed_at


class _EpochSchedule(TrainerCallback):
    """Decides when to log, evaluate and save; sets the epoch of the batches."""

    def __init__(self, trainer: EpochTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # `state.epoch` is steps / steps per epoch; at an epoch boundary rounding must not give the epoch before
        self.trainer.train_dataset.set_epoch(state.global_step // self.trainer.steps_per_epoch)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        if trainer.average is not None:
            trainer.average.update()
        every = trainer.settings.save_every
        # the last step of an epoch is saved in on_epoch_end, after the evaluation: a resumed run needs its result
        control.should_save = (
            bool(every) and state.global_step % every == 0 and state.global_step % trainer.steps_per_epoch != 0
        )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        trainer.log({**trainer.counts.metrics(), "rate": trainer._get_learning_rate()})
        trainer.counts.reset()
        epoch = round(state.epoch)
        last = state.global_step >= state.max_steps
        control.should_evaluate = trainer.eval_dataset is not None and (
            last or epoch % trainer.settings.evaluate_every == 0
        )
        control.should_save = True
