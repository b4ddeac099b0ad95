"""A training step with our Trainer compared with a plain PyTorch loop over the same batches; images per second by size.

    python benchmarks/training.py                              # CPU: 64, 128 and 224 px, about 3 minutes on two cores
    python benchmarks/training.py --sizes 224 --batch 256 --steps 100     # on a GPU
    python benchmarks/training.py --host                       # what the host does in a step of 256 images

Both sides train EfficientNet-B0 with the quick recipe on the same decoded images with the same optimizer. They
alternate in one process, so other programs affect both. On a GPU the table also has bf16 and `torch.compile`; these
were not measured for the documents.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.cache import build_cache
from cytoimagenet.loaders.index import Index, read_index
from cytoimagenet.loaders.transforms import augment, to_float, to_rgb
from cytoimagenet.training.feeding import batches_of
from cytoimagenet.training.model import build_model, prepare_for_training
from cytoimagenet.training.recipes import Settings, settings
from cytoimagenet.training.setup import make_trainer
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
    TrainerState,
)

WARM_UP_STEPS = 2  # not counted
HOST_STEPS = 60  # of which the work of the host is the median
FREE_OPERATORS = ("empty", "new_empty", "_unsafe_view", "lift_fresh")
Step = tuple[float, float]  # elapsed and CPU seconds


def now() -> Step:
    """Return elapsed and CPU time, after the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter(), time.process_time()


class Clock(TrainerCallback):
    """Records the time at the end of each step."""

    def __init__(self) -> None:
        self.times: list[Step] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Record the time."""
        self.times.append(now())


def by_trainer(folder: Path, chosen: Settings, index: Index) -> list[Step]:
    clock = Clock()
    trainer = make_trainer(folder / "run", chosen, index, None, 0, 1, [clock])
    trainer.save_model = trainer._save_checkpoint = lambda *_, **__: None  # only the steps are compared, not saving
    trainer.train()
    return clock.times


def plain_loop(batches: Batches, chosen: Settings) -> list[Step]:
    """Train with a loop as a user would write it without a Trainer."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, _ = build_model(
        chosen.model,
        list(batches.class_names),
        seed=0,
        dropout_rate=chosen.dropout,
        drop_connect_rate=chosen.drop_connect,
    )
    prepare_for_training(
        model,
        norm_momentum=chosen.norm_momentum,
        head_scale=chosen.head_scale,
        residual_scale=chosen.residual_scale,
    )
    model = model.to(device, memory_format=torch.channels_last).train()
    network = model if chosen.compile == "none" else torch.compile(model, backend=chosen.compile)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        eps=chosen.epsilon,
        fused=device.type == "cuda",
    )
    times = []
    for batch in batches:
        images, labels = (batch[name].to(device, non_blocking=True) for name in ("images", "labels"))
        images = augment(
            to_float(images),
            rotation=chosen.rotation,
            flips=chosen.flips,
            zoom=chosen.zoom,
            contrast=chosen.contrast,
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=chosen.precision == "bf16"):
            logits = network(pixel_values=to_rgb(images).contiguous(memory_format=torch.channels_last)).logits
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=chosen.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.clip)
        optimizer.step()
        times.append(now())
    return times


def steps_of(times: list[Step]) -> list[Step]:
    """Return the duration of each step after the warm-up."""
    return [(b[0] - a[0], b[1] - a[1]) for a, b in zip(times[WARM_UP_STEPS - 1 :], times[WARM_UP_STEPS:], strict=False)]


def measure(folder: Path, index: Index, size: int, batch: int, rounds: int, precision: str, compiled: str) -> str:
    """Train with both sides, alternating; return a row of the table."""
    cache = build_cache(index.root, size=size, folder=folder / "decoded")
    chosen = settings(
        "quick",
        size=size,
        epochs=1,
        batch_size=batch,
        precision=precision,
        compile=compiled,
        loader="cache",
        cache_dir=str(cache.parent),
        workers=1,
    )
    loop: list[Step] = []
    trainer: list[Step] = []
    for _ in range(rounds):
        loop += steps_of(plain_loop(batches_of(index, chosen, training=True), chosen))
        trainer += steps_of(by_trainer(folder, chosen, index))
    # the median, since other programs disturb single steps
    (clock, cpu), (clock_t, cpu_t) = (
        [statistics.median(step[i] for step in side) for i in (0, 1)] for side in (loop, trainer)
    )
    return (
        f"| {size} | {batch} | {precision} | {compiled} | {len(loop)} | {batch / clock:,.1f} | {batch / clock_t:,.1f} "
        f"| {clock_t / clock:.3f} | {cpu:.3f} | {cpu_t:.3f} | {cpu_t / cpu:.3f} |"
    )


class Finished(Exception):
    """Ends a training of which enough was measured."""


class HostClock(TrainerCallback):
    """Reads a number before and after each step; after each step of the training trains its network alone for a step.

    Parameters
    ----------
    steps : int
        Number of steps after which to stop.
    read : callable
        Returns the number.
    """

    def __init__(self, steps: int, read: Callable[[], float]) -> None:
        self.steps, self.read = steps, read
        self.numbers: list[tuple[float, float]] = []  # of each step, and of the step of the network alone

    def on_train_begin(
        self, args: object, state: object, control: object, model: nn.Module, optimizer: Any, **_: object
    ) -> None:
        """Copy the network and its optimizer, and put a batch on the device."""
        self.network, self.optimizer = copy.deepcopy((model, optimizer.optimizer))
        size, device = args.per_device_train_batch_size, args.device
        self.images = torch.rand(size, 3, 8, 8, device=device).contiguous(memory_format=torch.channels_last)
        self.labels = torch.zeros(size, dtype=torch.long, device=device)
        self.begin = self.read()

    def on_step_end(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        """Read the number and train the network alone."""
        end = self.read()
        functional.cross_entropy(self.network(pixel_values=self.images).logits, self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.numbers.append((end - self.begin, self.read() - end))
        if state.global_step == self.steps:
            raise Finished
        self.begin = self.read()


class Operators(TorchDispatchMode):
    """Counts the operators of PyTorch that are called, without views and allocations, which start nothing on a GPU."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operator and call it."""
        starts_nothing = func.is_view or func.namespace != "aten" or func.__name__.startswith(FREE_OPERATORS)
        self.count += not starts_nothing
        return func(*args, **(kwargs or {}))


def host_work(
    folder: Path, index: Index, recipe: str, batch: int, steps: int, read: Callable[[], float]
) -> tuple[float, float, float]:
    """Return by how much a number rises in a step of a training, in a step of its network alone, and the difference.

    These are medians. The network has three convolutions and the images 8 x 8 pixels.
    """
    chosen = settings(
        recipe, model=str(folder / "tiny"), size=8, epochs=1, batch_size=batch, precision="fp32", compile="none",
        loader="cache", cache_dir=str(folder / "decoded"), workers=1,
    )  # fmt: skip
    clock = HostClock(steps, read)
    trainer = make_trainer(folder / "run", chosen, index, None, 0, 1, [clock])
    trainer._save_checkpoint = lambda *_, **__: None
    trainer.args.logging_steps = steps + 1  # a logged step waits for the device
    try:
        trainer.train()
    except Finished:
        pass
    rows = [(step, alone, step - alone) for step, alone in clock.numbers[WARM_UP_STEPS:]]
    return tuple(statistics.median(column) for column in zip(*rows, strict=True))


def print_host_work(folder: Path) -> None:
    """Print a row per recipe and batch: CPU time of the main thread and operators, of a step and of its network alone.

    Without a GPU the main thread also computes. The work of a host does not depend on the number of images: with 2
    images there is next to nothing to compute, and the work of the host remains.
    """
    torch.set_num_threads(1)  # without a GPU the main thread computes, and is then the only one
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=2)
    ResNetForImageClassification(config).save_pretrained(folder / "tiny")
    curated = write_curated(folder / "curated", classes=10, images=52, sides=(64, 65))
    write_dataset(curated, folder / "cytoimagenet")
    index = read_index(folder / "cytoimagenet")
    names = ("shard", "offset", "size", "label", "row")
    many = replace(index, **{name: np.resize(getattr(index, name), 256 * (HOST_STEPS + 1)) for name in names})
    print(
        "| recipe | batch | CPU ms of the main thread per step | network alone | rest "
        "| operators per step | network alone | rest |"
    )
    print("|---" * 8 + "|")
    for recipe in ("paper", "modern"):
        for batch in (256, 2):
            times = host_work(folder, many, recipe, batch, HOST_STEPS, time.thread_time)
            with Operators() as operators:
                counts = host_work(folder, many, recipe, batch, 6, lambda: operators.count)
            numbers = [f"{1000 * number:.2f}" for number in times] + [f"{number:.0f}" for number in counts]
            print(f"| {recipe} | {batch} | {' | '.join(numbers)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 224])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10, help="steps per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--host", action="store_true", help="measure what the host does in a step")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cytoimagenet-bench-"))
    if asked.host:
        try:
            print_host_work(folder)
        finally:
            shutil.rmtree(folder)
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    try:
        images = asked.batch * (asked.steps + WARM_UP_STEPS)
        curated = write_curated(folder / "curated", classes=10, images=-(-images // 9), sides=(96, 128))
        write_dataset(curated, folder / "cytoimagenet")
        index = read_index(folder / "cytoimagenet")
        modes = [("fp32", "none")]
        if torch.cuda.is_available():
            modes += [("bf16", "none"), ("bf16", "inductor")]
        print(f"EfficientNet-B0, {device}, median of the steps\n")
        print(
            "| px | batch | precision | compile | steps | plain loop, images/s | Trainer, images/s "
            "| ratio of elapsed time | plain loop, CPU s per step | Trainer, CPU s per step | ratio of CPU time |"
        )
        print("|---" * 11 + "|")
        for size in asked.sizes:
            for precision, compiled in modes:
                print(measure(folder, index, size, asked.batch, asked.rounds, precision, compiled), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
