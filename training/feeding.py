"""The batches of a run, and the loader that hands them to the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..builder.errors import UsageError
from ..builder.storage import is_local
from ..loaders.batches import MOST_THREADS, Batches
from ..loaders.cache import CacheReader, build_cache
from ..loaders.cores import default_workers
from ..loaders.index import Index
from ..loaders.mapstyle import RowReader
from ..loaders.stream import ShardReader, decode_workers, local_copies
from ..loaders.worker_processes import checked, process_loader
from .recipes import Settings

EVALUATION_BATCHES = 4
"""Size of a batch in evaluation, in training batches: no activations are kept for a backward pass, so 4 fit in the
memory that training needs, and a GPU computes large batches faster."""


def batches_of(index: Index, chosen: Settings, *, training: bool, rank: int = 0, world: int = 1) -> Batches:
    """Return the batches of a run, read by the loader that its settings name.

    Parameters
    ----------
    index : Index
    chosen : Settings
    training : bool
        True: in the order of an epoch, in full batches. False: every image once.
    rank, world : int
        Index of this process (0, 1, ...) and number of processes.

    Raises
    ------
    UsageError
        If the classes are to be balanced by sampling, which streaming can't do.
    """
    if training:  # only the evaluation compares answers with them
        index = replace(index, alternatives=None)
    kind = chosen.loader
    if kind == "auto":
        kind = "map" if is_local(index.root) else "stream"
    balance = training and chosen.balance == "sampling"
    if balance and kind == "stream":
        raise UsageError(
            "balance=sampling needs random access, but loader=stream reads shards in order",
            next="Use --set loader=map, --set loader=cache, or --set balance=loss",
        )
    reader: Any
    if kind == "stream":
        copies = local_copies(index, chosen.cache_bytes, chosen.cache_dir)
        reader = ShardReader(index, chosen.size, copies=copies)
    elif kind == "map":
        reader = RowReader(index, chosen.size, balance=balance)
    else:
        path = build_cache(index.root, size=chosen.size, folder=chosen.cache_dir, workers=chosen.workers)
        reader = CacheReader(index, path, balance=balance)
    workers = chosen.workers
    if kind == "stream":
        # the validation split may have fewer shards than the requested number of workers
        workers = decode_workers(workers if training else None, len(index.shards), world)
    elif workers is None:
        workers = default_workers()
    return Batches(
        reader,
        batch_size=chosen.batch_size if training else EVALUATION_BATCHES * chosen.batch_size,
        training=training,
        accumulation=chosen.accumulation,
        workers=workers,
        seed=chosen.seed,
        rank=rank,
        world=world,
    )


def data_loader(batches: Batches, device: torch.device) -> DataLoader[Any]:
    """Return the loader of the batches, which are already divided among the processes, for one device.

    For a GPU processes decode, since threads would take Python's lock from the thread that starts the work of the GPU;
    and the batches are in pinned memory, so that copying them to the device does not wait. Another thread copies them
    there.
    """
    gpu = device.type == "cuda"
    processes = batches.processes(most_threads=0 if gpu else MOST_THREADS)
    if processes:
        return process_loader(batches, processes, pin_memory=gpu)
    return DataLoader(
        batches.pinned() if gpu and batches.workers else batches,
        batch_size=None,
        pin_memory=gpu and not batches.workers,
        generator=torch.Generator().manual_seed(0),  # without it each pass would advance torch's global generator
    )


def to_device(batch: dict[str, torch.Tensor], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Copy the images and labels of a batch to the device without waiting for it."""
    batch = checked(batch)
    return batch["images"].to(device, non_blocking=True), batch["labels"].to(device, non_blocking=True)
