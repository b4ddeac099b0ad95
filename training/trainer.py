"""The training loop: `transformers`' Trainer over batches that are already divided among the processes.

Differences from the Trainer:

- The training loader is not passed to accelerate, which would divide the batches a second time.
- Augmentation and loss are computed on the device.
- Evaluation counts every validation image once, with any number of processes.
- A checkpoint also contains the averaged weights, the counts of its epoch so far, and a file that is written last and
  marks it as complete.
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
from ..loaders.transforms import augment, cutmix, mixup, to_float, to_rgb
from .recipes import Settings

TOP_K = 7  # preprint, 3.2: an answer counts as top-7 if the label is one of the seven most probable classes
COMPLETE = "whole.json"  # written last into a checkpoint: a checkpoint without it is incomplete
EXTRA_STATE = "extra.safetensors"
CHECKPOINTS_KEPT = 2  # a crash can leave the newest incomplete; the one before it is complete


class EpochTrainer(Trainer):
    """A Trainer that follows our settings.

    Parameters
    ----------
    model : Module
        A `transformers` image classifier.
    args : TrainingArguments
    settings : Settings
    train_dataset, eval_dataset : Batches
    normalisation : (mean, std)
        Three values each, for pixels in [0, 1].
    class_weights : array, shape (classes,), optional
        Weights of the classes in the loss.
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
        self.network = model  # without the wrappers that accelerate adds
        self.classes = len(train_dataset.class_names)
        # our loss is a mean over the batch: the Trainer itself must divide it by the number of accumulated batches
        self.model_accepts_loss_kwargs = False
        device = args.device
        self.mean, self.std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in normalisation)
        self.class_weights = None if class_weights is None else torch.from_numpy(class_weights).to(device)
        self.average = _averaged(model, settings.average) if settings.average else None
        self.counts = torch.zeros(
            3, dtype=torch.float64, device=device
        )  # summed loss, right answers and images of this epoch
        self.add_callback(_EpochSchedule(self))

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches unchanged: they are already divided among the processes."""
        return DataLoader(
            self.train_dataset,
            batch_size=None,
            pin_memory=self.args.device.type == "cuda",
            generator=torch.Generator().manual_seed(0),  # without it each pass would advance torch's global generator
        )

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the weights that decay: matrices and kernels, but no biases and no BatchNorm."""
        return [name for name, weight in model.named_parameters() if weight.ndim > 1]

    def _prepare_input(self, data: Any) -> Any:
        if isinstance(data, torch.Tensor):
            return data.to(self.args.device, non_blocking=True)
        return super()._prepare_input(data)

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Convert grey images, shape (N, 1, H, W), float in [0, 1], to the input of the network, shape (N, 3, H, W)."""
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        return to_rgb(images, self.mean, self.std).contiguous(memory_format=layout)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """Augment a batch and return the loss of the network on it."""
        chosen, labels = self.settings, inputs["labels"]
        images = augment(
            to_float(inputs["images"]),
            rotation=chosen.rotation,
            flips=chosen.flips,
            zoom=chosen.zoom,
            contrast=chosen.contrast,
        )
        images, target = self.mix_batch(images, labels)
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

    def mix_batch(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply mixup or CutMix to a batch, or neither, as the settings choose."""
        mixup_alpha, cutmix_alpha = self.settings.mixup, self.settings.cutmix
        if mixup_alpha and cutmix_alpha:  # one of them at random, never both
            mixup_alpha, cutmix_alpha = (mixup_alpha, 0.0) if float(torch.rand(())) < 0.5 else (0.0, cutmix_alpha)
        if mixup_alpha:
            return mixup(images, labels, self.classes, mixup_alpha)
        if cutmix_alpha:
            return cutmix(images, labels, self.classes, cutmix_alpha)
        return images, labels

    def evaluate(self, *_: Any, metric_key_prefix: str = "eval", **__: Any) -> dict[str, float]:
        """Evaluate on the validation images, with the averaged weights if there are any."""
        confusion = self.confusion(self.eval_dataset)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in confusion.metrics().items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def confusion(self, batches: Batches) -> Confusion:
        """Count the answers of the network for each class, over all processes."""
        network = self.best_weights()
        device, k = self.args.device, self.classes
        if torch.distributed.is_initialized():  # BatchNorm statistics differ between processes; use those of rank 0
            for buffer in network.buffers():
                torch.distributed.broadcast(buffer, 0)
        was_training = network.training
        network.eval()
        pairs = torch.zeros(k * k, dtype=torch.int64, device=device)
        in_top_k = torch.zeros(k, dtype=torch.int64, device=device)
        loss = torch.zeros((), dtype=torch.float64, device=device)
        for batch in batches:
            images, labels = (self._prepare_input(batch[name]) for name in ("images", "labels"))
            with self.compute_loss_context_manager(), self.accelerator.autocast():
                logits = network(pixel_values=self.inputs(to_float(images))).logits.float()
            loss += functional.cross_entropy(logits, labels, reduction="sum").double()
            pairs += torch.bincount(labels * k + logits.argmax(1), minlength=k * k)
            top = (logits.topk(min(TOP_K, k), dim=1).indices == labels[:, None]).any(1)
            in_top_k += torch.bincount(labels[top], minlength=k)
        network.train(was_training)
        if torch.distributed.is_initialized():
            for total in (pairs, in_top_k, loss):
                torch.distributed.all_reduce(total)
        return Confusion(pairs.view(k, k).cpu().numpy(), in_top_k.cpu().numpy(), float(loss))

    def best_weights(self) -> nn.Module:
        """Return the network that is evaluated and saved: the averaged one, or without averaging the trained one."""
        return self.network if self.average is None else self.average.module

    def epoch_metrics(self) -> dict[str, float]:
        """Return loss and accuracy over the training images of this epoch, and reset the counts."""
        counts = self.counts.clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        self.counts.zero_()
        loss, right, images = counts.tolist()
        return {"train_loss": loss / max(images, 1), "train_accuracy": right / max(images, 1)}

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        folder = Path(str(self.args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            (folder / COMPLETE).unlink(missing_ok=True)
        super()._save_checkpoint(model, trial)
        counts = self.counts.clone()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)  # this also waits until every process has written its part
        if self.args.should_save:
            average = {} if self.average is None else {f"average.{k}": v for k, v in self.average.state_dict().items()}
            save_file({"counts": counts, **{k: v.contiguous() for k, v in average.items()}}, folder / EXTRA_STATE)
            write_atomic(folder / COMPLETE, json.dumps({"step": self.state.global_step}).encode())

    def restore(self, checkpoint: Path) -> None:
        """Restore the part of a checkpoint that the Trainer does not, and skip the batches already trained on."""
        state = load_file(checkpoint / EXTRA_STATE)
        if self.args.process_index == 0:  # the file contains the sum over all processes
            self.counts.copy_(state["counts"])
        if self.average is not None:
            self.average.load_state_dict(
                {key.removeprefix("average."): value for key, value in state.items() if key != "counts"}
            )
        step = json.loads((checkpoint / COMPLETE).read_text())["step"]
        per_epoch = -(-len(self.train_dataset) // self.args.gradient_accumulation_steps)
        epoch, done = divmod(step, per_epoch)
        self.train_dataset.skip(epoch, done * self.args.gradient_accumulation_steps)


class Confusion:
    """Counts of the network's answers for each class.

    Parameters
    ----------
    pairs : array, shape (classes, classes), int64
        Number of images by label (row) and answer (column).
    in_top_k : array, shape (classes,), int64
        Number of images of each class whose label is one of the seven most probable classes.
    loss : float
        Sum of the cross-entropy over the images.

    Examples
    --------
    >>> Confusion(np.array([[3, 1], [2, 4]]), np.array([4, 6]), 5.0).metrics()
    {'loss': 0.5, 'accuracy': 0.7, 'top7': 1.0}
    """

    def __init__(self, pairs: NDArray[np.int64], in_top_k: NDArray[np.int64], loss: float) -> None:
        self.pairs, self.in_top_k, self.loss = pairs, in_top_k, loss

    def metrics(self) -> dict[str, float]:
        """Return the means over the images: loss, accuracy and top-7 accuracy in [0, 1]."""
        images = max(int(self.pairs.sum()), 1)
        return {
            "loss": self.loss / images,
            "accuracy": float(np.trace(self.pairs)) / images,
            "top7": float(self.in_top_k.sum()) / images,
        }


class _EpochSchedule(TrainerCallback):
    """Decides when to log, evaluate and save; sets the epoch of the batches."""

    def __init__(self, trainer: EpochTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # `state.epoch` is steps / steps per epoch; at an epoch boundary rounding must not give the epoch before
        self.trainer.train_dataset.set_epoch(int((state.epoch or 0) + 1e-6))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        trainer = self.trainer
        if trainer.average is not None:
            trainer.average.update_parameters(trainer.network)
        per_epoch = -(-len(trainer.train_dataset) // args.gradient_accumulation_steps)
        every = trainer.settings.save_every
        # the last step of an epoch is saved in on_epoch_end, after the evaluation: a resumed run needs its result
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
    """Return the newest complete checkpoint of a run; remove incomplete ones, which a crash left."""
    complete = {}
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        if (checkpoint / COMPLETE).is_file():
            complete[json.loads((checkpoint / COMPLETE).read_text())["step"]] = checkpoint
        else:
            shutil.rmtree(checkpoint, ignore_errors=True)
    return complete[max(complete)] if complete else None


def _averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of the network with the exponential moving average of its weights and buffers."""

    def update(average: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        if not average.is_floating_point():
            return current
        # the decay grows towards its value with the number of updates, so that a short run forgets its random start
        weight = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        return average + (current - average) * weight

    return AveragedModel(model, avg_fn=update, use_buffers=True)
