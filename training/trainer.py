"""The loop: `transformers`' Trainer over batches that are already dealt to the processes.

What is changed, and why: the training loader is not handed to accelerate, which would split it a second time; loss and
augmentation happen on the device; evaluation counts every validation image once on any number of processes; a
checkpoint also holds the averaged weights and the running counts of its epoch, and a mark that it is whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from ..builder.storage import write_atomic
from ..loaders.batches import Batches
from ..loaders.transforms import augment, cut, mix, to_float, to_rgb
from .recipes import Settings

TOP = 7  # preprint, 3.2 reports the share of images whose label is among the first seven
WHOLE = "whole.json"  # written last into a checkpoint
EXTRA = "extra.safetensors"
CHECKPOINTS = 2  # the newest may be cut off by a crash; the one before it is whole


class EpochTrainer(Trainer):
    """A Trainer that trains by our settings.

    Parameters
    ----------
    model : Module
        A `transformers` image classifier.
    args : TrainingArguments
    settings : Settings
    train_dataset, eval_dataset : Batches
    normalisation : (mean, std)
    class_weights : array, shape (classes,), optional
        Of the loss.
    """

    train_dataset: Batches
    eval_dataset: Batches

    def __init__(
        self,
        model: nn.Module,
        args: TrainingArguments,
        *,
        settings: Settings,
        train_dataset: Batches,
        eval_dataset: Batches | None,
        normalisation: tuple[Sequence[float], Sequence[float]],
        class_weights: NDArray[np.float32] | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        super().__init__(model, args, train_dataset=train_dataset, eval_dataset=eval_dataset, callbacks=[*callbacks])
        self.settings = settings
        self.network = model  # without what accelerate wraps around it
        self.classes = len(train_dataset.class_names)
        # our loss is a plain mean; the Trainer must not take it for one that was already divided
        self.model_accepts_loss_kwargs = False
        device = args.device
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in normalisation)
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights).to(device)
        self.average = _averaged(model, settings.average) if settings.average else None
        self.counts = torch.zeros(3, dtype=torch.float64, device=device)  # loss, right answers, images of this epoch
        self.add_callback(_Flow(self))

    def get_train_dataloader(self) -> DataLoader:
        """Return the batches as they are: they were dealt to the processes already."""
        return DataLoader(
            self.train_dataset,
            batch_size=None,
            pin_memory=self.args.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # or each pass would move torch's global generator
        )

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Name what weight decay pulls at: matrices and kernels, no biases and no BatchNorm."""
        return [name for name, weight in model.named_parameters() if weight.ndim > 1]

    def _prepare_input(self, data: Any) -> Any:
        if isinstance(data, torch.Tensor):
            return data.to(self.args.device, non_blocking=True)
        return super()._prepare_input(data)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Turn grey images in [0, 1] into what the network takes."""
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return to_rgb(images, self.mean, self.std).contiguous(memory_format=layout)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Augment a batch, pass it through the network and compare with its labels."""
        chosen, labels = self.settings, inputs["labels"]
        images = augment(
            to_float(inputs["images"]),
            rotation=chosen.rotation,
            flips=chosen.flips,
            zoom=chosen.zoom,
            contrast=chosen.contrast,
        )
        images, target = self.blend(images, labels)
        outputs = model(pixel_values=self.inputs(images))
        logits = outputs.logits.float()
        loss = functional.cross_entropy(
            logits, target, weight=self.class_weights, label_smoothing=chosen.label_smoothing
        )
        with torch.no_grad():
            right = (logits.argmax(1) == labels).sum()
            self.counts += torch.stack(
                [loss.detach().double() * len(labels), right.double(), right.new_tensor(len(labels)).double()]
            )
        return (loss, outputs) if return_outputs else loss

    def blend(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix images and labels of a batch by mixup or CutMix, as the settings say; without both, leave them."""
        mixup, cutmix = self.settings.mixup, self.settings.cutmix
        if mixup and cutmix:  # never both at once
            mixup, cutmix = (mixup, 0.0) if float(torch.rand(())) < 0.5 else (0.0, cutmix)
        if mixup:
            return mix(images, labels, self.classes, mixup)
        if cutmix:
            return cut(images, labels, self.classes, cutmix)
        return images, labels

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Evaluate on the validation images, with the averaged weights where there are some."""
        found = self.confusion(self.eval_dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.metrics().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def confusion(self, batches: Batches) -> Confusion:
        """Count, over all processes, what each class was taken for."""
        network = self.best_weights()
        device, k = self.args.device, self.classes
        if torch.distributed.is_initialized():  # each process has BatchNorm statistics of its own; rank 0's are kept
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        was_training = network.training
        network.eval()
        pairs = torch.zeros(k * k, dtype=torch.int64, device=device)
        among = torch.zeros(k, dtype=torch.int64, device=device)
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for batch in batches:
            images, labels = (self._prepare_input(batch[name]) for name in ("images", "labels"))
            with self.compute_loss_context_manager(), self.accelerator.autocast():
                logits = network(pixel_values=self.inputs(to_float(images))).logits.float()
            loss += functional.cross_entropy(logits, labels, reduction="sum").double()
            pairs += torch.bincount(labels * k + logits.argmax(1), minlength=k * k)
            first = (logits.topk(min(TOP, k), dim=1).indices == labels[:, None]).any(1)
            among += torch.bincount(labels[first], minlength=k)
        network.train(was_training)
        if torch.distributed.is_initialized():
            for total in (pairs, among, loss):
                torch.distributed.all_reduce(total)
        return Confusion(pairs.view(k, k).cpu().numpy(), among.cpu().numpy(), float(loss))

    def best_weights(self) -> nn.Module:
        """Return the network that is evaluated and kept: the averaged one, or the one being trained."""
        return self.network if self.average is None else self.average.module

    def epoch_metrics(self) -> dict[str, float]:
        """Return loss and accuracy over the training images of this epoch, and start counting anew."""
        counts = self.counts.clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        self.counts.zero_()
        loss, right, images = counts.tolist()
        return {"train_loss": loss / max(images, 1), "train_accuracy": right / max(images, 1)}

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            (folder / WHOLE).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)
        counts = self.counts.clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)  # also: every process has written its part
        if self.args.should_save:
            kept = {} if self.average is None else {f"average.{k}": v for k, v in self.average.state_dict().items()}
            save_file({"counts": counts, **{k: v.contiguous() for k, v in kept.items()}}, folder / EXTRA)
            write_atomic(folder / WHOLE, json.dumps({"step": self.state.global_step}).encode())

    def restore(self, checkpoint: Path) -> None:
        """Take up what our checkpoints hold beyond the Trainer's, and skip what its epoch has seen."""
        held = load_file(checkpoint / EXTRA)
        if self.args.process_index == 0:  # the counts of all processes went into the file
            self.counts.copy_(held["counts"])
        if self.average is not None:
            self.average.load_state_dict(
                {key.removeprefix("average."): value for key, value in held.items() if key != "counts"}
            )
        step = json.loads((checkpoint / WHOLE).read_text())["step"]
        per_epoch = -(-len(self.train_dataset) // self.args.gradient_accumulation_steps)
        epoch, done = divmod(step, per_epoch)
        self.train_dataset.skip(epoch, done * self.args.gradient_accumulation_steps)


class Confusion:
    """How often each class was taken for each.

    Parameters
    ----------
    pairs : array, shape (classes, classes), int64
        Rows are the labels, columns the answers.
    among : array, shape (classes,), int64
        Images of each class whose label is among the first seven answers.
    loss : float
        Summed over the images.
    """

    def __init__(self, pairs: NDArray[np.int64], among: NDArray[np.int64], loss: float) -> None:
        self.pairs, self.among, self.loss = pairs, among, loss

    def metrics(self) -> dict[str, float]:
        """Return loss, accuracy and top-7 accuracy over the images."""
        images = max(int(self.pairs.sum()), 1)
        return {
            "loss": self.loss / images,
            "accuracy": float(np.trace(self.pairs)) / images,
            "top7": float(self.among.sum()) / images,
        }


class _Flow(TrainerCallback):
    """When to log, evaluate and save, and which order of images an epoch has."""

    def __init__(self, trainer: EpochTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # the epoch is a fraction of steps; a checkpoint lies on a step, and rounding must not fall short of it
        self.trainer.train_dataset.set_epoch(int((state.epoch or 0) + 1e-6))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        if trainer.average is not None:
            trainer.average.update_parameters(trainer.network)
        per_epoch = -(-len(trainer.train_dataset) // args.gradient_accumulation_steps)
        every = trainer.settings.save_every
        # the last step of an epoch is saved after its evaluation, or that would be lost to a resumed run
        control.should_save = bool(every) and state.global_step % every == 0 and state.global_step % per_epoch != 0

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        trainer.log({**trainer.epoch_metrics(), "rate": trainer._get_learning_rate()})
        epoch = round(state.epoch)
        last = state.global_step >= state.max_steps
        control.should_evaluate = trainer.eval_dataset is not None and (
            last or epoch % trainer.settings.evaluate_every == 0
        )
        control.should_save = True


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of a run, and remove those a crash cut off."""
    found = {}
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if (checkpoint / WHOLE).is_file():
            found[json.loads((checkpoint / WHOLE).read_text())["step"]] = checkpoint
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)
    return found[max(found)] if found else None


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    def blend(average: torch.Tensor, current: torch.Tensor, taken: torch.Tensor | int) -> torch.Tensor:
        if not average.is_floating_point():
            return current
        # a short run must forget its random start: the decay grows towards its value
        weight = 1 - min(decay, (1 + int(taken)) / (10 + int(taken)))
        return average + (current - average) * weight

    return AveragedModel(model, avg_fn=blend, use_buffers=True)
