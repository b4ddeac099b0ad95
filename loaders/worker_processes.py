"""Batches decoded by worker processes, for more cores than threads can use.

Decoding an image takes several calls that release Python's global interpreter lock, with some Python between them. On
16 cores four threads were as fast as four processes, and more threads were slower than four: they wait for the lock.
Processes share nothing but the finished batches, which they pass on in shared memory.

The processes are those of torch's DataLoader: it asks them in turn, so the order of the batches does not depend on
their number, and each of them is at most two batches ahead.
"""

from __future__ import annotations

import shutil
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, IterableDataset, dataloader
from torch.utils.data._utils import signal_handling

from ..builder.errors import CytoImageNetError

BATCHES_AHEAD_PER_PROCESS = 2
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where torch passes arrays between processes; some containers allow 64 MB
_ERROR = "error"  # key of an error that a worker process passes on in place of a batch


class Epochs(Protocol):
    """Iterates over the batches of an epoch, each time it is asked; in a worker process over the share of that one."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[dict[str, Any]]: ...


class WorkerDiedError(CytoImageNetError):
    """A process that decodes images died."""


def process_loader(batches: Epochs, processes: int, *, pin_memory: bool = False) -> DataLoader[dict[str, Any]]:
    """Return a DataLoader whose worker processes decode the batches of each epoch, in order.

    The processes start with the first epoch and stay for the next ones. Pass every batch to `checked`, and iterate
    within `deaths_reported`.

    Parameters
    ----------
    batches : Batches
        Its `set_epoch` and `skip` also work once the processes are running.
    processes : int
        Number of worker processes.
    pin_memory : bool
        Copy batches to pinned memory, in a thread of this process, so that copying them to a GPU does not wait.
    """
    # fork: starts in milliseconds, shares the index, and needs no `if __name__ == "__main__"` in the user's script. The
    # workers use no threads and no GPU of this process.
    context = "fork" if sys.platform == "linux" else None
    return _ProcessLoader(
        _Worker(batches),
        batch_size=None,
        num_workers=processes,
        multiprocessing_context=context,
        worker_init_fn=_prepare,
        persistent_workers=True,
        prefetch_factor=BATCHES_AHEAD_PER_PROCESS,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(0),  # without it each pass would advance torch's global generator
    )


def fits_shared_memory(processes: int, batch_bytes: int) -> bool:
    """Return whether the batches that worker processes decode ahead fit in the shared memory of this machine.

    Examples
    --------
    >>> fits_shared_memory(1, 1 << 60)
    False
    """
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # not Linux: torch uses files
        return True
    return free > processes * (BATCHES_AHEAD_PER_PROCESS + 1) * batch_bytes


def checked(batch: dict[str, Any]) -> dict[str, Any]:
    """Return a batch, or raise the error that a worker process passed on in its place.

    Examples
    --------
    >>> checked({"images": 1})
    {'images': 1}
    """
    if _ERROR in batch:
        raise batch[_ERROR]
    return batch


@contextmanager
def deaths_reported() -> Iterator[None]:
    """Report a worker process that died within this context.

    Raises
    ------
    WorkerDiedError
    """
    try:
        yield
    except (RuntimeError, ConnectionError, EOFError) as error:
        # a process that dies while it passes on a batch closes the connection in the middle of it
        lost = not isinstance(error, RuntimeError) and _in_data_loader(error.__traceback__)
        if not lost and not str(error).startswith("DataLoader worker (pid"):
            raise
        raise WorkerDiedError(
            f"A process that decodes images died: {error}".strip(),
            next="If memory ran out, use fewer --workers or smaller batches. With 4 workers or fewer, threads decode",
        ) from error


def _in_data_loader(trace: TracebackType | None) -> bool:
    """Return whether an error passed through torch's DataLoader."""
    return any(frame.f_code.co_filename == dataloader.__file__ for frame, _ in traceback.walk_tb(trace))


class _ProcessLoader(DataLoader[dict[str, Any]]):
    """Starts its worker processes with SIGINT blocked: Ctrl-C would reach those that are not prepared for it yet."""

    def __iter__(self) -> Any:
        import cv2

        threads = cv2.getNumThreads()
        # a copy of this process does not contain OpenCV's threads, and would wait for ever when it ends them: they are
        # ended here, and start again with the next call that needs them
        cv2.setNumThreads(1)
        try:
            if not hasattr(signal, "pthread_sigmask"):  # Windows
                return super().__iter__()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            try:
                return _deaths_found_by_waiting(super().__iter__())
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        finally:
            cv2.setNumThreads(threads)


def _deaths_found_by_waiting(batches: Any) -> Any:
    """Remove the workers of an iterator from those whose death torch's handler of SIGCHLD reports.

    The handler raises its error between any two instructions of the program, such as in the middle of a step or while
    another error is handled. Whoever waits for the next batch finds a dead worker, too: after at most 5 seconds.
    """
    if getattr(batches, "_worker_pids_set", False):
        signal_handling._remove_worker_pids(id(batches))
        batches._worker_pids_set = False
    return batches


class _Worker(IterableDataset[dict[str, Any]]):
    """Batches, with errors of ours in place of the batch: torch would bury their text in that of a traceback."""

    def __init__(self, batches: Epochs) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            yield from self.batches
        except CytoImageNetError as error:
            yield {_ERROR: error}


def _prepare(worker: int) -> None:
    """Prepare a worker process."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes: the main one stops the others
    cv2.setNumThreads(1)
    sys.excepthook = _print_unless_connection_lost


def _print_unless_connection_lost(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of a worker, but not that the main process, which has been interrupted, no longer listens."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)
