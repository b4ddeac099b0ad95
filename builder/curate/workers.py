"""Run many chunks on many workers, through `concurrent.futures.Executor`: local processes or those of Dask.

Chunks are submitted a few at a time, so that memory does not grow with their number. When a worker dies, or is ended
because an image takes too long, the chunks it may have been working on are run again, one by one. If a chunk ends its
worker again, each of its source images is tried in a throw-away process, and only those that end it are rejected.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import connection
from typing import Any, NamedTuple

from ..errors import CytoImageNetError, UsageError
from ..extras import naming_the_extra
from ..images.guard import ImageLimits
from ..images.make import PixelSettings
from ..worker_processes import cores
from .chunk import ChunkResult, make_chunk
from .plan import Job
from .trial import verdicts

CHUNKS_AHEAD_PER_WORKER = 2  # one being processed, one waiting

_Task = tuple[str, str, PixelSettings, ImageLimits | None]
"""What all chunks have in common: raw, out, pixels, limits."""


class Workers(NamedTuple):
    """Where chunks are processed.

    Parameters
    ----------
    open : callable
        Returns a new executor, as a context manager.
    size : int
        Number of workers in it.
    lost : tuple of exception types
        What a future raises when its worker died.
    limits : ImageLimits, optional
        Of each source image; None if chunks are processed in this process, which must not be ended.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    size: int
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    limits: ImageLimits | None = ImageLimits()


def workers_of(workers: int | None = None, dask: str | None = None) -> Workers:
    """Choose where chunks are processed.

    Parameters
    ----------
    workers : int, optional
        Number of processes on this machine; by default one per core. 0: this process itself, for profiling.
    dask : str, optional
        Address of a Dask scheduler, or `local` for a cluster of `workers` processes on this machine.
    """
    if workers is not None and workers < 0:
        raise UsageError(f"The number of workers can't be negative: {workers}")
    if dask is not None:
        return _dask(dask, workers)
    count = cores() if workers is None else workers
    if count == 0:
        return Workers(lambda: nullcontext(_ThisProcess()), 1, limits=None)
    return Workers(lambda: _processes(count), count)


def make_chunks(
    jobs: Iterable[Job],
    raw: str,
    out: str,
    pixels: PixelSettings,
    workers: Workers,
) -> Iterator[tuple[Job, ChunkResult]]:
    """Write chunks; yield each as it is done, in no particular order.

    Parameters
    ----------
    jobs : iterable of Job
        Consumed only as workers become free.
    raw, out, pixels
        As `chunk.make_chunk`.
    workers : Workers
        From `workers_of`.
    """
    pending = iter(jobs)
    task = (raw, out, pixels, workers.limits)
    while True:
        suspects: list[Job] = []
        with workers.open() as executor:
            yield from _until_a_worker_dies(executor, pending, task, workers, suspects)
        if not suspects:
            return
        suspects.sort()
        results = _one_by_one([(make_chunk, (job.rows, *task)) for job in suspects], workers)
        for job, result in zip(suspects, results, strict=True):
            if result is None:
                result = _without_images_at_fault(job, task, workers)
            yield job, result


def _until_a_worker_dies(
    executor: Executor, jobs: Iterator[Job], task: _Task, workers: Workers, suspects: list[Job]
) -> Iterator[tuple[Job, ChunkResult]]:
    """Yield results; once a worker has died, add its possible chunks to `suspects` and submit no more."""
    running: dict[Future[ChunkResult], Job] = {}
    capacity = CHUNKS_AHEAD_PER_WORKER * workers.size
    try:
        while True:
            while len(running) < capacity and not suspects and (job := next(jobs, None)) is not None:
                try:
                    running[executor.submit(make_chunk, job.rows, *task)] = job
                except workers.lost:
                    suspects.append(job)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    result = future.result()
                except workers.lost:
                    suspects.append(job)
                    continue
                yield job, result
    finally:
        for future in running:
            future.cancel()


def _one_by_one(tasks: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]], workers: Workers) -> Iterator[Any]:
    """Run tasks one at a time, so that it is known which one kills a worker; yield each result, None for those."""
    waiting = iter(tasks)
    while True:
        with workers.open() as executor:
            for function, arguments in waiting:
                try:
                    result = executor.submit(function, *arguments).result()
                except workers.lost:
                    yield None
                    break
                yield result
            else:
                return


def _without_images_at_fault(job: Job, task: _Task, workers: Workers) -> ChunkResult:
    """Find the source images of a chunk that end the process that reads them, and write the chunk without them."""
    raw, _, pixels, limits = task
    found = next(_one_by_one([(verdicts, (job.rows, raw, pixels, limits))], workers))
    result = None
    if found is not None:
        result = next(_one_by_one([(make_chunk, (job.rows, *task, found))], workers))
    if result is None:
        raise CytoImageNetError(
            f"Workers keep dying on chunk {job.number}, but none of its images alone ends one",
            where=f"{job.rows[0].idx} to {job.rows[-1].idx}",
            next="Check the memory of the machine (`dmesg` names processes that were ended to free some); use fewer "
            "--workers.",
        )
    assert isinstance(result, ChunkResult)
    return result


class _ThisProcess(Executor):
    """Runs tasks where they are submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _processes(count: int) -> Iterator[Executor]:
    # spawned, not forked: the thread of a progress bar may own a lock at the moment of a fork
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _prepare_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    """End this process on Ctrl-C, without a message (the parent prints one), and when its parent ends."""
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _dask(address: str, workers: int | None) -> Workers:
    with naming_the_extra():
        from distributed import Client, LocalCluster
        from distributed.scheduler import KilledWorker
    if address == "local":
        count = workers or cores()

        @contextmanager
        def local() -> Iterator[Executor]:
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
            )
            with cluster, Client(cluster) as client, client.get_executor(pure=False, retries=0) as executor:
                yield executor

        return Workers(local, count, (KilledWorker, BrokenExecutor))

    @contextmanager
    def remote() -> Iterator[Executor]:
        try:
            client = Client(address, timeout="30s")
        except (OSError, ValueError) as error:
            raise UsageError(
                f"No Dask scheduler answers: {error}", where=address, next="Start one: docs/cluster.md has recipes."
            ) from error
        with client, client.get_executor(pure=False, retries=0) as executor:
            yield executor

    with remote():
        threads = Client.current().nthreads()
    return Workers(remote, max(1, sum(threads.values())), (KilledWorker, BrokenExecutor))
