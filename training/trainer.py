"""The training loop: `transformers`' Trainer over batches that are already divided among the processes.

Differences from the Trainer:

- The training loader is not passed to accelerate, which would divide the batches a second time.
- Augmentation and loss are computed on the device, in the precision that the settings name.
- A step never reads a value from the device, except when something is logged: a GPU always has work queued.
- Evaluation counts every validation image once, with any number of processes.
- A checkpoint is written while training continues. It also contains the averaged weights and the counts and parts of
  its epoch so far, so that another number of processes can resume.
- The weights of the best evaluation are kept, and training stops early if the settings say so.
- Training stops with an error when a logged number is not finite.
"""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
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
from . import best
from .answers import count_answers
from .average import MovingAverage
from .checkpoints import EXTRA_STATE, WEIGHTS, CheckpointWriter, checkpoint_folder, newest_checkpoint, read_progress
from .compilation import Mode, compile_network, stop_compiling
from .confusion import Confusion
from .divergence import diverged, not_finite
from .epoch_counts import EpochCounts
from .epoch_schedule import EpochSchedule
from .feeding import data_loader, to_device
from .normalisation import preprocessor_config
from .objective import Objective
from .pace import Pace
from .progress_callback import ProgressCallback


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
    objective: Objective

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
        self._weights = [*model.parameters()]  # listed once: listing those of EfficientNet-B0 takes 0.4 ms of the host
        # our loss is a mean over the batch: the Trainer itself must divide it by the number of accumulated batches
        self.model_accepts_loss_kwargs = False
        self.average = MovingAverage(model, decay) if decay else None
        if self.settings.distill and self.average is not None:
            objective.teacher = self.average.module.eval()
        self.counts = EpochCounts(args.device)
        self.mode = mode
        compile_network(model, mode)
        self._may_compile_in_vain = self.settings.compile == "auto" and train_dataset.world == 1
        self.parts_before: tuple[Part, ...] = ()  # parts of the resumed epoch
        self.resumed_at = 0  # step at which this process started
        self.last_confusion: tuple[int, Confusion] | None = None  # step and result of the last evaluation
        self.best: best.Best | None = None
        self.pace = Pace()
        self._steps_at_lap = 0
        self.writer = CheckpointWriter(Path(str(args.output_dir)))
        self.add_callback(EpochSchedule(self))

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps per epoch; the same for any number of processes."""
        return -(-len(self.train_dataset) // self.args.gradient_accumulation_steps)

    @property
    def images_per_step(self) -> int:
        """Number of images per step of all processes together."""
        batches = self.train_dataset
        return batches.batch_size * self.args.gradient_accumulation_steps * batches.world

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

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """Return the batches of the next step; measure how long they are waited for."""
        with self.pace.waiting():
            return super().get_batch_samples(*args, **kwargs)

    def begin_to_measure(self) -> None:
        """Measure the speed from this step on."""
        self._steps_at_lap = self.state.global_step
        self.pace.begin()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log numbers, with the speed if they are those of a step.

        Raises
        ------
        DivergedError
            If one of them is not finite.
        """
        if "loss" in logs:
            steps, self._steps_at_lap = self.state.global_step - self._steps_at_lap, self.state.global_step
            logs |= self.pace.lap(steps * self.images_per_step)
        super().log(logs, start_time)
        self.stop_if_diverged(logs)

    def stop_if_diverged(self, numbers: Mapping[str, float]) -> None:
        """Raise DivergedError if a number is not finite."""
        reason = not_finite(numbers)
        if not reason:
            return
        self.writer.wait()
        folder = Path(str(self.args.output_dir))
        raise diverged(
            reason,
            folder,
            self.settings,
            step=self.state.global_step,
            steps=self.state.max_steps,
            rate=self._get_learning_rate(),
            # the other processes must not remove what this one has not completed yet
            checkpoint=newest_checkpoint(folder) if self.args.process_index == 0 else None,
        )

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
        images, labels = to_device(inputs, self.args.device)
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

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor:
        """Limit the norm of the gradient; return what it was before.

        As accelerate does, which first lists the weights, and looks for scaled and sharded gradients: there are none.
        """
        return nn.utils.clip_grad_norm_(self._weights, self.args.max_grad_norm)

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Return the norm of the gradient that clipping computed.

        Without clipping the Trainer computes it for the log, and multiplies all gradients by 1.
        """
        return grad_norm

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Evaluate on the validation images, with the averaged weights if there are any."""
        with self.pace.paused():
            confusion = self.confusion(self._evaluation_loader)
        self.last_confusion = self.state.global_step, confusion
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in confusion.metrics().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.best = best.update(
            self.best,
            step=self.state.global_step,
            epoch=round(self.state.epoch or 0),
            accuracy=metrics[f"{metric_key_prefix}_accuracy"],
        )
        if self.has_no_patience:
            self.control.should_training_stop = True
        return metrics

    @property
    def has_no_patience(self) -> bool:
        """Whether the settings stop training now, since the validation accuracy has not become better."""
        patience = self.settings.patience
        return bool(patience) and self.best is not None and self.best.evaluations_since >= patience

    def confusion(self, loader: DataLoader[Any]) -> Confusion:
        """Count the answers of the network for each class, over all processes.

        Parameters
        ----------
        loader : DataLoader
            See `feeding.data_loader`.
        """
        return count_answers(self.evaluated_network(), self.objective, loader)

    def load_best(self) -> None:
        """Replace the weights that are evaluated and saved by those of the best evaluation."""
        assert self.best is not None
        folder = best.best_folder(Path(str(self.args.output_dir)), self.best.step)
        self.evaluated_network().load_state_dict(load_file(folder / WEIGHTS))

    def evaluated_network(self) -> nn.Module:
        """Return the network that is evaluated and saved: the averaged one, or without averaging the trained one."""
        return self.network if self.average is None else self.average.module

    def close(self) -> None:
        """Write the last checkpoint, and close what callbacks have opened, also after an error."""
        try:
            self.writer.close()
        finally:
            for callback in self.callback_handler.callbacks:
                if isinstance(callback, ProgressCallback):
                    callback.close()

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
        optimizer: Any = self.optimizer
        schedule: Any = self.lr_scheduler
        mean, std = self.objective.normalisation
        is_best = self.best is not None and self.best.step == step
        self.writer.write(
            {"step": step, "steps_per_epoch": self.steps_per_epoch, "parts": self._parts(), "best": self.best},
            weights=network.state_dict(),
            extra=extra,
            optimizer=optimizer.state_dict(),
            schedule=schedule.state_dict(),
            trainer_state=json.dumps(dataclasses.asdict(self.state), indent=2, sort_keys=True) + "\n",
            config=network.config.to_json_string(),
            preprocessor=preprocessor_config(mean, std, self.settings.size),
            best=self.evaluated_network().state_dict() if is_best else None,
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
        if progress.get("best") is not None:
            self.best = best.Best(*progress["best"])
        if self.args.process_index == 0:
            best.remove_others(checkpoint.parent, self.best and self.best.step)
        if self.has_no_patience:  # it had stopped early: nothing is left to train
            self.args.num_train_epochs = self.resumed_at // self.steps_per_epoch
        self.parts_before = tuple(Part(*part) for part in progress["parts"])
        if self.parts_before:
            self.train_dataset.resume(self.resumed_at // self.steps_per_epoch, self.parts_before)
        return self.resumed_at
