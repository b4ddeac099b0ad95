"""Many chunks over many workers: `concurrent.futures.Executor`, whether its workers are processes here or Dask's.

Chunks are handed out a few at a time, so that memory does not grow with their number. When a worker dies, the chunks it
may have held are run again one by one; a chunk that ends its worker again is searched for the source image that does
it, and that image alone is left out.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import connection
from typing import Any, NamedTuple

from ..errors import CytoImageNetError, UsageError
from ..images.make import Pixels, Wanted
from . import chunk
from .chunk import Done
from .plan import Job

AHEAD = 2  # chunks handed out per worker: one in work, one waiting
LIVES = 2  # times that a lone image may end its worker before it is left out


class Workers(NamedTuple):
    """Where chunks are made.

    Parameters
    ----------
    open : callable
        Gives a new executor, as a context.
    size : int
        Workers in it.
    lost : tuple of exception types
        What a future raises when its worker died.
    """

    open: Callable[[], AbstractContextManager[Executor]]
    size: int
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)


def workers_of(workers: int | None = None, dask: str | None = None) -> Workers:
    """Choose where chunks are made.

    Parameters
    ----------
    workers : int, optional
        Processes on this machine; default one for each core. 0: this very process, for profiling.
    dask : str, optional
        Address of a Dask scheduler, or `local` for a cluster of `workers` processes on this machine.
    """
    if workers is not None and workers < 0:
        raise UsageError(f"There can't be {workers} workers")
    if dask is not None:
        return _dask(dask, workers)
    count = _cores() if workers is None else workers
    if count == 0:
        return Workers(lambda: nullcontext(_Here()), 1)
    return Workers(lambda: _processes(count), count)


def run(
    jobs: Iterable[Job],
    raw: str,
    out: str,
    pixels: Pixels,
    workers: Workers,
) -> Iterator[tuple[Job, Done]]:
    """Make chunks; yield each as it is done, in no order.

    Parameters
    ----------
    jobs : iterable of Job
        Taken only as workers come free.
    raw, out, pixels
        As `chunk.run`.
    workers : Workers
        From `workers_of`.
    """
    pending = iter(jobs)
    while True:
        suspects: list[Job] = []
        with workers.open() as executor:
            yield from _until_a_loss(executor, pending, (raw, out, pixels), workers, suspects)
        if not suspects:
            return
        suspects.sort()
        again = _in_turn([(chunk.run, (job.rows, raw, out, pixels)) for job in suspects], workers)
        for job, done in zip(suspects, again, strict=True):
            yield job, done if done is not None else _without_the_deadly(job, raw, out, pixels, workers)


def _until_a_loss(
    executor: Executor, jobs: Iterator[Job], task: tuple[str, str, Pixels], workers: Workers, suspects: list[Job]
) -> Iterator[tuple[Job, Done]]:
    running: dict[Future[Done], Job] = {}
    room = AHEAD * workers.size
    try:
        while True:
            while len(running) < room and not suspects and (job := next(jobs, None)) is not None:
                try:
                    running[executor.submit(chunk.run, job.rows, *task)] = job
                except workers.lost:
                    suspects.append(job)
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                try:
                    done = future.result()
                except workers.lost:
                    suspects.append(job)
                    continue
                yield job, done
    finally:
        for future in running:
            future.cancel()


def _in_turn(tasks: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]], workers: Workers) -> Iterator[Any]:
    """Run tasks one at a time, so that a death has one cause; yield what each returns, None if its worker died."""
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


def _without_the_deadly(job: Job, raw: str, out: str, pixels: Pixels, workers: Workers) -> Done:
    """Find the source images of a chunk that end the process that reads them, and make it without them."""
    guilty = job.rows
    for _ in range(LIVES):
        tasted = _in_turn([(_taste, (row, raw, pixels)) for row in guilty], workers)
        guilty = [row for row, lived in zip(guilty, tasted, strict=True) if not lived]
    condemned = frozenset(row.idx for row in guilty)
    done = next(_in_turn([(chunk.run, (job.rows, raw, out, pixels, condemned))], workers))
    if done is None:
        raise CytoImageNetError(
            f"Workers keep dying on chunk {job.number}, though none of its images alone ends one",
            where=f"{job.rows[0].idx} to {job.rows[-1].idx}",
            next="Look at the machine's memory (`dmesg` names processes ended for want of it); use fewer --workers.",
        )
    return done


def _taste(row: Wanted, raw: str, pixels: Pixels) -> bool:
    """Make a source image's images and forget them; returning is the proof."""
    from ..images.channel_reader import Reader
    from ..images.make import images_of

    for _ in images_of(row, Reader(raw), pixels):
        pass
    return True


class _Here(Executor):
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
    # spawned, not forked: a progress bar's thread may hold a lock at the moment of a fork
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _settle)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _settle() -> None:
    """Make a new process a worker: it ends with its parent."""
    import signal

    signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # Ctrl-C: at once and in silence; the parent speaks
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            connection.wait([parent.sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _dask(address: str, workers: int | None) -> Workers:
    try:
        from distributed import Client, LocalCluster
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise UsageError(
            "Dask is not installed", where=str(error.name), next="pip install 'cytoimagenet[dask]'"
        ) from error
    if address == "local":
        count = workers or _cores()

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


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
