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
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

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
from torch.nn import functional
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    TrainerCallback,
    TrainerState,
)

WARM_UP_STEPS = 2  # not counted
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
    """Records the CPU time of the main thread at the end of each step, and stops after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.times: list[float] = []

    def on_step_end(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        """Record the time."""
        self.times.append(time.thread_time())
        if state.global_step == self.steps:
            raise Finished


def host_work(folder: Path, index: Index, recipe: str, model: str, steps: int) -> tuple[list[float], list[float]]:
    """Return the CPU seconds of the main thread in each step of 256 images, and in each step of the network alone.

    The network has three convolutions and the images 8 x 8 pixels. Without a GPU the same thread also computes; what a
    step takes more than the network alone is the work of the Trainer, of the callbacks and of the augmentation.
    """
    chosen = settings(
        recipe, model=model, size=8, epochs=1, batch_size=256, precision="fp32", compile="none", loader="cache",
        cache_dir=str(folder / "decoded"), workers=1,
    )  # fmt: skip
    clock = HostClock(steps)
    trainer = make_trainer(folder / "run", chosen, index, None, 0, 1, [clock])
    trainer._save_checkpoint = lambda *_, **__: None
    trainer.args.logging_steps = steps + 1  # a logged step waits for the device
    try:
        trainer.train()
    except Finished:
        pass
    model_alone = network_alone(trainer.model, trainer.optimizer.optimizer, steps)
    return tuple(
        [after - before for before, after in pairwise(times)][WARM_UP_STEPS:] for times in (clock.times, model_alone)
    )


def network_alone(network: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """Train on one batch that is on the device; return the CPU time of the main thread at the end of each step."""
    device = next(network.parameters()).device
    images = torch.rand(256, 3, 8, 8, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(256, dtype=torch.long, device=device)
    times = []
    for _ in range(steps):
        functional.cross_entropy(network(pixel_values=images).logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.thread_time())
    return times


def print_host_work(folder: Path, steps: int) -> None:
    """Print a row per recipe: the median work of the host in a step, with the network and alone."""
    torch.set_num_threads(1)  # without a GPU the main thread computes, and is then the only one
    config = ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=2)
    ResNetForImageClassification(config).save_pretrained(folder / "tiny")
    curated = write_curated(folder / "curated", classes=10, images=52, sides=(64, 65))
    write_dataset(curated, folder / "cytoimagenet")
    index = read_index(folder / "cytoimagenet")
    names = ("shard", "offset", "size", "label", "row")
    many = replace(index, **{name: np.resize(getattr(index, name), 256 * (steps + 1)) for name in names})
    print("| recipe, batch 256, three convolutions | steps | CPU ms of the host per step | network alone | rest |")
    print("|---|---|---|---|---|")
    for recipe in ("paper", "modern"):
        both = host_work(folder, many, recipe, str(folder / "tiny"), steps)
        step, alone = (1000 * statistics.median(times) for times in both)
        print(f"| {recipe} | {len(both[0])} | {step:.2f} | {alone:.2f} | {step - alone:.2f} |", flush=True)


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
            print_host_work(folder, 60)
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
