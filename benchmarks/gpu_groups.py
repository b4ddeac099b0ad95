"""The measurements of gpu.py, in groups. A group adds rows to a report; each row is measured on its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu import DEVICE, GPU, Report, Row, Sizes, synchronize
from torch import nn

CLASSES = 894  # of the published dataset


def dataset(folder: Path, sizes: Sizes) -> Any:
    """Return the index of an epoch; the images are written once and repeated."""
    from cytoimagenet.builder.shards.write import write_dataset
    from cytoimagenet.builder.simulate.curated_folder import write_curated
    from cytoimagenet.loaders.index import read_index

    place = folder / "cytoimagenet"
    if not place.exists():
        sides = (sizes.source_side - 1, sizes.source_side)
        curated = write_curated(folder / "curated", classes=10, images=sizes.images // 10, sides=sides)
        write_dataset(curated, place, shard_size=sizes.shard_bytes)
    index = read_index(place)
    names = ("shard", "offset", "size", "label", "row")
    return replace(index, **{name: np.tile(getattr(index, name), sizes.repeats) for name in names})


# the network alone


def our_network(sizes: Sizes) -> nn.Module:
    from cytoimagenet.training.model import build_model, prepare_for_training

    model, _ = build_model(sizes.model, [str(n) for n in range(CLASSES)], seed=0)
    prepare_for_training(model, norm_momentum=0.01, head_scale=1.0, residual_scale=1.0)
    return model


def timm_network(sizes: Sizes) -> nn.Module:
    import timm

    return timm.create_model("efficientnet_b0", num_classes=CLASSES)


def transformers_network(sizes: Sizes) -> nn.Module:
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    config = EfficientNetConfig(width_coefficient=1.0, depth_coefficient=1.0, image_size=224, hidden_dim=1280,
                                num_labels=CLASSES)  # fmt: skip
    return EfficientNetForImageClassification(config)


def alone(
    make: Callable[[Sizes], nn.Module], sizes: Sizes, batch: int, precision: str = "bf16", compiled: str = "none"
) -> Row:
    """Train a network on random tensors that are on the device."""
    model = make(sizes).to(DEVICE, memory_format=torch.channels_last).train()
    before = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    if compiled != "none":
        options = {"mode": compiled} if compiled == "reduce-overhead" else {"backend": compiled}
        model.compile(dynamic=False, **options)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=GPU)
    images = torch.rand(batch, 3, sizes.side, sizes.side, device=DEVICE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), device=DEVICE)

    def step() -> None:
        if compiled == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=precision == "bf16"):
            found = model(images)
        logits = getattr(found, "logits", found).float()
        nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    begun = time.perf_counter()
    try:
        for _ in range(sizes.warm_up):
            step()
        synchronize()
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        for _ in range(sizes.steps):
            step()
        synchronize()
        rate = batch * sizes.steps / (time.perf_counter() - begun)
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.set_float32_matmul_precision(before[1])
    return {"images/s": round(rate, 1), "remarks": f"{sizes.warm_up} steps before: {first:.1f} s"}


def name_alone(network: str, batch: int, precision: str, compiled: str) -> str:
    return f"network alone, {network}, batch {batch}, {precision}, compile {compiled}"


# train()


def trained(report: Report, sizes: Sizes, folder: Path, recipe: str, loader: str, batch: int, compiled: str) -> Row:
    """Train by our Trainer, without checkpoints; the first steps are not counted."""
    from cytoimagenet.training.device import device_flags
    from cytoimagenet.training.recipes import settings
    from cytoimagenet.training.setup import make_trainer
    from transformers import TrainerCallback

    chosen = settings(
        recipe, model=sizes.model, size=sizes.side, epochs=1, batch_size=batch, compile=compiled, loader=loader,
        workers=sizes.train_workers, cache_dir=str(folder / "decoded"),
        precision="bf16" if GPU else "fp32",
    )  # fmt: skip
    times: list[float] = []
    last = sizes.warm_up + sizes.steps

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (sizes.warm_up, last):
                synchronize()
                times.append(time.perf_counter())
            control.should_training_stop = state.global_step >= last

    begun = time.perf_counter()
    with device_flags(chosen):
        trainer = make_trainer(folder / "run", chosen, dataset(folder, sizes), None, 0, 1, [Clock()])
        trainer.save_model = trainer._save_checkpoint = lambda *_, **__: None
        trainer.train()
    rate = batch * sizes.steps / (times[1] - times[0])
    precision = "bf16" if GPU else "fp32"
    base = report.rate(name_alone("ours", batch, precision, compiled))
    remarks = f"{sizes.warm_up} steps after {times[0] - begun:.1f} s"
    return {"images/s": round(rate, 1), "ratio": round(rate / base, 3) if base else None, "remarks": remarks}


def train(report: Report, sizes: Sizes, folder: Path) -> None:
    """Measure the network alone and training, not compiled."""
    precision = "bf16" if GPU else "fp32"
    networks = {"ours": our_network, "timm": timm_network, "transformers": transformers_network}
    for batch in (sizes.large, sizes.small):
        report.measure(
            name_alone("ours", batch, precision, "none"), 10, lambda b=batch: alone(our_network, sizes, b, precision)
        )
    report.measure("dataset of PNG shards", 20, lambda: {"remarks": f"{len(dataset(folder, sizes)):,} images an epoch"})
    for recipe, batch in (("modern", sizes.large), ("paper", sizes.small)):
        for loader in ("cache", "map", "stream"):
            report.measure(
                f"train(), {recipe}, {loader}, {sizes.train_workers} workers, batch {batch}, compile none",
                10,
                lambda r=recipe, s=loader, b=batch: trained(report, sizes, folder, r, s, b, "none"),
            )
    for network in ("timm", "transformers"):
        what = name_alone(network, sizes.large, precision, "none")
        report.measure(what, 8, lambda n=network: alone(networks[n], sizes, sizes.large, precision))
    if GPU:
        what = name_alone("ours", sizes.large, "tf32", "none")
        report.measure(what, 8, lambda: alone(our_network, sizes, sizes.large, "tf32"))
    report.measure("start-up", 25, lambda: start_up(folder, sizes))


START = """
import sys, time
begun = time.time()
from cytoimagenet.training.train import train
from transformers import TrainerCallback
imported = time.time()
class First(TrainerCallback):
    def on_step_end(self, *_, **__):
        import torch
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        print(f"\\nFIRST {imported - begun:.2f} {time.time() - begun:.2f}", flush=True)
        __import__("os")._exit(0)
train(sys.argv[1], sys.argv[2], recipe="modern", size=int(sys.argv[3]), batch_size=int(sys.argv[4]), epochs=1,
      compile="none", callbacks=[First()])
"""


def start_up(folder: Path, sizes: Sizes) -> Row:
    """Measure the time from the start of a new process until its first step is done."""
    command = [sys.executable, "-W", "ignore", "-c", START, str(folder / "cytoimagenet"), str(folder / "started")]
    begun = time.perf_counter()
    done = subprocess.run(
        [*command, str(sizes.side), str(sizes.small)], capture_output=True, text=True, timeout=90, check=False
    )
    seconds = time.perf_counter() - begun
    found = [text.split()[1:] for text in done.stdout.splitlines() if text.startswith("FIRST")]
    if not found:
        raise RuntimeError(done.stderr[-300:])
    return {"remarks": f"first step {seconds:.1f} s after the command, of which imports {found[0][0]} s"}


# loaders


def load(report: Report, sizes: Sizes, folder: Path) -> None:
    """Measure loaders with threads and with processes."""
    from cytoimagenet.loaders.batches import Batches
    from cytoimagenet.loaders.cache import CacheReader, build_cache
    from cytoimagenet.loaders.mapstyle import RowReader
    from cytoimagenet.loaders.stream import ShardReader
    from cytoimagenet.loaders.worker_processes import process_loader

    index = dataset(folder, sizes)

    class DecodedOnly(RowReader):
        """Decodes, but passes on one pixel of each image: what the cores and the memory allow."""

        def read(self, ids: Any) -> Any:
            return np.ascontiguousarray(super().read(ids)[:, :1, :1])

    def rate(batches: Iterable[Any], seconds: float) -> float:
        passing = iter(batches)
        next(passing)
        begun, images = time.perf_counter(), 0
        for batch in passing:
            images += len(batch["images"])
            if time.perf_counter() - begun > seconds:
                break
        return images / (time.perf_counter() - begun)

    def row(reader: Any, workers: int, processes: bool, one: str) -> Row:
        batches = Batches(reader, batch_size=sizes.large, workers=workers)
        loader: Any = process_loader(batches, workers, pin_memory=GPU) if processes else batches._by_threads()
        found = rate(loader, 1.0 if GPU else 0.5)
        base = report.rate(one)
        return {
            "images/s": round(found, 1),
            "ratio": round(found / base / workers, 3) if base else (1.0 if workers == 1 else None),
        }

    readers = {
        "map": RowReader(index, sizes.side),
        "stream": ShardReader(index, sizes.side),
        "decoding alone": DecodedOnly(index, sizes.side),
    }
    for name, reader in readers.items():
        for processes in (True, False) if name != "decoding alone" else (True,):
            kind = "processes" if processes else "threads"
            for workers in sizes.workers if processes else [w for w in sizes.workers if w <= 4]:
                what, one = (f"{name}, {n} {kind}" for n in (workers, 1))
                report.measure(what, 4, lambda r=reader, w=workers, p=processes, o=one: row(r, w, p, o))
    path = build_cache(index.root, size=sizes.side, folder=folder / "decoded")
    for workers in (1, 2):
        what = f"cache, {workers} threads"
        report.measure(what, 4, lambda w=workers: row(CacheReader(index, path), w, False, "cache, 1 threads"))


# features


def features(report: Report, sizes: Sizes, folder: Path) -> None:
    """Measure features of one network in each precision, and from images."""
    import copy

    from cytoimagenet.eval.features.engine import runner
    from cytoimagenet.eval.features.precision import PRECISIONS, network_in, tf32_allowed
    from cytoimagenet.training.model import random_backbone

    torch.manual_seed(0)
    module = random_backbone(0)
    norms = [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:  # statistics of the data, so that features are of order 1, as those of a trained network
        layer.momentum = None
        layer.train()
    with torch.no_grad():
        module(torch.rand(8, 3, 96, 96))
    module.eval()
    rng = np.random.default_rng(0)
    for side, batch in sizes.features:
        views = rng.random((batch, side, side), dtype=np.float32)
        for precision in PRECISIONS:

            def bare(precision: str = precision, side: int = side, batch: int = batch) -> Row:
                network = network_in(module, precision).to(DEVICE, memory_format=torch.channels_last)
                shown = torch.rand(batch, 3, side, side, device=DEVICE, dtype=next(network.parameters()).dtype)
                shown = shown.contiguous(memory_format=torch.channels_last)
                with torch.inference_mode(), tf32_allowed(precision == "tf32"):
                    return {"images/s": repeated(lambda: network(shown), batch, sizes)}

            def piped(precision: str = precision, side: int = side, batch: int = batch, views: Any = views) -> Row:
                expected = runner(copy.deepcopy(module).cpu(), "b0", (side, side), "torch")(views[:8])
                run = runner(module, "b0", (side, side), "torch", str(DEVICE), precision)
                found = run(views[:8])
                cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
                waiting = [run.start(views)]

                def one() -> None:
                    waiting.append(run.start(views))
                    waiting.pop(0)()

                rate = repeated(one, batch, sizes)
                waiting.pop()()
                base = report.rate(f"network alone, features, {side} px, batch {batch}, {precision}")
                return {
                    "images/s": rate,
                    "ratio": round(rate / base, 3) if base else None,
                    "remarks": f"smallest cosine to float32 on the CPU: {cosine.min():.6f}",
                }

            report.measure(f"network alone, features, {side} px, batch {batch}, {precision}", 5, bare)
            report.measure(f"features, {side} px, batch {batch}, {precision}", 5, piped)
    report.measure("features of PNG shards, default workers", 30, lambda: extracted(module, sizes, folder))
    report.measure("evaluation of simulated cells", 45, lambda: evaluated(sizes, folder, 120))


def repeated(work: Callable[[], Any], batch: int, sizes: Sizes) -> float:
    for _ in range(3):
        work()
    synchronize()
    begun = time.perf_counter()
    for _ in range(sizes.steps // 2 + 1):
        work()
    synchronize()
    return round(batch * (sizes.steps // 2 + 1) / (time.perf_counter() - begun), 1)


def extracted(module: Any, sizes: Sizes, folder: Path) -> Row:
    """Compute the features of all images of the dataset, decoding included."""
    from cytoimagenet.eval.features.backbones import backbone
    from cytoimagenet.eval.features.dataset_images import METHOD, choose
    from cytoimagenet.eval.features.extract import extract
    from cytoimagenet.loaders.cores import default_workers

    dataset(folder, sizes)
    samples = choose(folder / "cytoimagenet", classes=None, images=10**6)
    begun = time.perf_counter()
    network = backbone(module, "b0")
    options = {"methods": [METHOD], "size": sizes.side, "engine": "torch", "workers": default_workers()}
    table = extract(samples, network, cache=folder / "features", **options)["b0", METHOD]
    seconds = time.perf_counter() - begun
    return {
        "images/s": round(len(table.ids) / seconds, 1),
        "remarks": f"{len(table.ids):,} images in {seconds:.1f} s, trial included; {table.settings['precision']}; "
        f"network {table.settings['network_seconds']} s",
    }


SCORES = """
import json, sys
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.features.processes import Processes
found = evaluate("coos7", sys.argv[1], sys.argv[2], input_size=int(sys.argv[3]), engine="torch", probe=False)
print("\\nSCORES", json.dumps([Processes().device, {name: float(s) for name, s in found.scores.items()}]))
"""


def evaluated(sizes: Sizes, folder: Path, seconds: float) -> Row:
    """Score random weights on simulated cells, on the GPU and on the CPU."""
    from cytoimagenet.eval.simulate.coos7 import simulate_coos7

    side = min(sizes.side, 64)
    cells = simulate_coos7(folder / "coos7", train=sizes.images // 50, test=sizes.images // 100 + 2)
    command = [sys.executable, "-W", "ignore", "-c", SCORES, "random:0", str(cells), str(side)]
    found = []
    for cpu in ("false", "true"):
        environment = {**os.environ, "ACCELERATE_USE_CPU": cpu, "XDG_CACHE_HOME": str(folder / f"scores-{cpu}")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)
        lines = [text for text in done.stdout.splitlines() if text.startswith("SCORES")]
        if not lines:
            raise RuntimeError(done.stderr[-300:])
        found.append(json.loads(lines[-1].removeprefix("SCORES ")))
    (device, one), (_, other) = found
    apart = max(abs(one[name] - other[name]) for name in other)
    return {"remarks": f"largest difference of {len(one)} scores between {device} and cpu: {apart:.4f}"}


# resuming


def resume(report: Report, sizes: Sizes, folder: Path) -> None:
    """Find out whether runs are bit-identical, with and without deterministic kernels."""
    from cytoimagenet.training.train import train as train_run
    from transformers import TrainerCallback

    dataset(folder, sizes)

    class CutOff(Exception):
        pass

    class Cut(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 7:
                raise CutOff

    def run(name: str, deterministic: bool, cut: bool = False) -> bytes:
        out = folder / f"{name}-{deterministic}"
        options = {
            "recipe": "modern", "size": min(sizes.side, 64), "batch_size": sizes.small, "epochs": 1, "save_every": 3,
            "deterministic": deterministic, "average_share": 0.5, "workers": 2, "model": sizes.model,
        }  # fmt: skip
        if cut:
            try:
                train_run(folder / "cytoimagenet", out, callbacks=[Cut()], **options)
            except CutOff:
                pass
        train_run(folder / "cytoimagenet", out, **options)
        return (out / "model.safetensors").read_bytes()

    for deterministic in (False, True):

        def compare(deterministic: bool = deterministic) -> Row:
            begun = time.perf_counter()
            one = run("one", deterministic)
            seconds = time.perf_counter() - begun
            same = one == run("two", deterministic)
            resumed = one == run("cut", deterministic, cut=True)
            words = {True: "bit-identical", False: "not bit-identical"}
            return {"remarks": f"same run twice: {words[same]}; interrupted and resumed: {words[resumed]}; "
                               f"one run {seconds:.1f} s"}  # fmt: skip

        report.measure(f"resume, deterministic={deterministic}", 40, compare)


def compiled(report: Report, sizes: Sizes, folder: Path) -> None:
    """Measure the network alone and training, compiled."""
    precision = "bf16" if GPU else "fp32"
    modes = (("inductor", sizes.large, "modern"), ("reduce-overhead", sizes.small, "paper")) if GPU else (
        ("eager", sizes.large, "modern"),)  # fmt: skip
    for mode, batch, recipe in modes:
        what = name_alone("ours", batch, precision, mode)
        report.measure(what, 75, lambda m=mode, b=batch: alone(our_network, sizes, b, precision, m))
        report.measure(
            f"train(), {recipe}, cache, batch {batch}, compile {mode}",
            75,
            lambda m=mode, b=batch, r=recipe: trained(report, sizes, folder, r, "cache", b, m),
        )


GROUPS = {"train": train, "load": load, "features": features, "resume": resume, "compile": compiled}
