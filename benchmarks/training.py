"""A training step by the Trainer against a bare PyTorch loop over the same batches, and images a second.

    python benchmarks/training.py                     # CPU: 64 px, batches of 32
    python benchmarks/training.py --size 224 --batch 256 --steps 100     # on a GPU

Both sides train EfficientNet-B0 by the quick recipe on the same decoded images, in turns, in one process. On a GPU the
table has bf16 and `torch.compile` as well; none of that was measured on the machine these docs were written on.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from cytoimagenet.builder.shards import write_dataset
from cytoimagenet.builder.synthetic import write_curated
from cytoimagenet.loaders.batches import Batches
from cytoimagenet.loaders.cache import CacheSource, build_cache
from cytoimagenet.loaders.index import Index, read_index
from cytoimagenet.loaders.transforms import augment, to_float, to_rgb
from cytoimagenet.training.model import build_model
from cytoimagenet.training.recipes import Settings, settings
from cytoimagenet.training.train import _trainer
from torch.nn import functional
from transformers import TrainerCallback

WARM = 4  # steps that are not counted


class Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: object, **__: object) -> None:
        """Wait for the device, then look at the clock."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())


def by_trainer(folder: Path, chosen: Settings, index: Index) -> list[float]:
    clock = Clock()
    trainer = _trainer(folder / "run", chosen, index, None, 0, 1, [clock])
    trainer.save_model = trainer._save_checkpoint = lambda *_, **__: None  # steps are compared, not disks
    trainer.train()
    return clock.times


def bare(batches: Batches, chosen: Settings) -> list[float]:
    """Do what a user would write without a Trainer: the same work, nothing around it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, _ = build_model(chosen.model, list(batches.class_names), seed=0)
    model = model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=chosen.weight_decay, eps=chosen.epsilon)
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
            logits = model(pixel_values=to_rgb(images).contiguous(memory_format=torch.channels_last)).logits
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=chosen.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.clip)
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter())
    return times


def per_step(times: list[float]) -> float:
    """Median seconds of a step: other work on the machine disturbs single ones."""
    return statistics.median(b - a for a, b in zip(times[WARM:], times[WARM + 1 :], strict=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cytoimagenet-bench-"))
    try:
        measure(folder, arguments)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    images = arguments.batch * arguments.steps
    curated = write_curated(folder / "curated", classes=10, images=-(-images // 9), sides=(96, 128))
    write_dataset(curated, folder / "cytoimagenet")
    index = read_index(folder / "cytoimagenet")
    path = build_cache(folder / "cytoimagenet", size=arguments.size, folder=folder / "decoded")
    ways = [("fp32", "none")]
    if torch.cuda.is_available():
        ways += [("bf16", "none"), ("bf16", "inductor")]
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(f"EfficientNet-B0, {arguments.size} px, batches of {arguments.batch}, {name}\n")
    print("| precision | compile | bare loop, images/s | Trainer, images/s | step of the Trainer to the bare one |")
    print("|---|---|---|---|---|")
    for precision, compiled in ways:
        chosen = settings(
            "quick",
            size=arguments.size,
            epochs=1,
            batch_size=arguments.batch,
            precision=precision,
            compile=compiled,
            loader="cache",
            cache_dir=str(path.parent),
            workers=1,
        )
        pairs = []
        for _ in range(arguments.rounds):
            loop = per_step(bare(Batches(CacheSource(index, path), batch_size=arguments.batch, workers=1), chosen))
            pairs.append((loop, per_step(by_trainer(folder, chosen, index))))
        loop, trainer = min(p[0] for p in pairs), min(p[1] for p in pairs)
        print(
            f"| {precision} | {compiled} | {arguments.batch / loop:,.0f} | {arguments.batch / trainer:,.0f} "
            f"| {trainer / loop:.3f} |"
        )


if __name__ == "__main__":
    main()
