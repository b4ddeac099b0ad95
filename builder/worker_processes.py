"""Call a function for many items in worker processes, none of which can end the run.

When a process dies, another one works on the items that have no result yet, and writes each result as soon as it has
it. So it is known which item a process died with: if two die with the same one, `Died` takes the place of its result.

The processes are new interpreters, as in `child`. They end with the process that started them.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import LifoQueue, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from .child import ChildError, command_of

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 2  # processes that an item may end, when items are tried one by one; the first may have had another reason
GROUPS_AHEAD_PER_WORKER = 2  # so that no worker waits while the results are used
_LENGTH_BYTES = 8  # of the length before each task
_READY = "ready"


class Died(NamedTuple):
    """In place of a result: the processes that worked on this item died.

    Parameters
    ----------
    status : int
        Exit status of the last one, as `subprocess` returns it: negative for a signal.
    """

    status: int


def in_processes(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int,
    group: int = 1,
    is_final: Callable[[int], bool] = lambda status: False,
) -> Generator[Result | Died, None, None]:
    """Yield the result of each item, in order. Close the iterator to end the processes before its end.

    Parameters
    ----------
    function : callable
        Called with one item; a function of a module, or a `functools.partial` of one, since it is sent by pickle.
    items : iterable
        Consumed only as workers become free.
    workers : int
        Number of processes. The results do not depend on it.
    group : int
        Number of items sent together.
    is_final : callable
        Whether an exit status is that of an item which must not be tried again.

    Raises
    ------
    Exception
        Whatever the function raises.
    ChildError
        If the processes can't be started.

    Examples
    --------
    >>> from cytoimagenet.builder.dataset.describe import size
    >>> list(in_processes(size, [1_820_000, 512], workers=1))
    ['1.82 MB', '512 bytes']
    """
    processes = [_Process() for _ in range(workers)]
    idle: LifoQueue[_Process] = LifoQueue()  # the last one first: a few items start few processes
    for process in processes:
        idle.put(process)

    def work(some: Sequence[Item]) -> list[Result | Died]:
        process = idle.get()
        try:
            return _results(process, function, some, is_final)
        finally:
            idle.put(process)

    left = iter(items)
    waiting: deque[Future[list[Result | Died]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="cytoimagenet-worker") as pool:
        try:
            while some := list(islice(left, group)):
                waiting.append(pool.submit(work, some))
                if len(waiting) > GROUPS_AHEAD_PER_WORKER * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            for process in processes:
                process.close()


def cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _results(
    process: _Process, function: Callable[[Item], Result], items: Sequence[Item], is_final: Callable[[int], bool]
) -> list[Result | Died]:
    results: list[Result | Died] = []
    one_by_one = len(items) == 1
    deaths = 0  # at the next item
    while len(results) < len(items):
        found, status = process.call(function, items[len(results) :], one_by_one=one_by_one)
        results += found
        deaths = 0 if found else deaths
        if status is not None and not one_by_one:
            one_by_one = True
        elif status is not None:
            deaths += 1
            if deaths == TRIES or is_final(status):
                results.append(Died(status))
                deaths = 0
    return results


class _Process:
    """A worker process, started when it is needed, and again after it died."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # of starting and closing

    def call(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, one_by_one: bool
    ) -> tuple[list[Result], int | None]:
        """Return the results of the first items, and the exit status of the process if it died.

        `one_by_one`: pass on every result at once, so that it died with the item after them.
        """
        task = pickle.dumps((function, items, one_by_one))
        running = self._running or self._start()
        assert running.stdin is not None
        assert running.stdout is not None
        results: list[Result] = []
        try:
            running.stdin.write(len(task).to_bytes(_LENGTH_BYTES, "big") + task)
            running.stdin.flush()
            raised = False
            while not raised and len(results) < len(items):
                raised, result = pickle.load(running.stdout)  # noqa: S301 - written by our own code
                results.append(result)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            self._running = None
            return results, _end(running)
        if raised:
            raise results[-1]  # type: ignore[misc]
        return results, None

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ChildError("The worker processes were ended")
            running = subprocess.Popen(command_of(__name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._running = running
        assert running.stdout is not None
        try:
            pickle.load(running.stdout)  # noqa: S301 - written by our own code
        except (EOFError, pickle.UnpicklingError) as error:
            raise ChildError(f"A worker process does not start: it ended with the status {_end(running)}") from error
        return running

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.kill()
                _end(self._running)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Close the pipes of a process that ends; return its exit status."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.close()
    except BrokenPipeError:  # what was not sent
        pass
    status = process.wait()
    process.stdout.close()
    return status


def main() -> None:
    """Work on the tasks of the input; write each result, or what the function raised, to the output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one reports it, and ends this one
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the results
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()
    _send(output, _READY, at_once=True)
    while True:
        task = tasks.get()
        try:
            function, items, one_by_one = pickle.loads(task)  # noqa: S301 - written by our own code
            for item in items:
                _send(output, (False, function(item)), at_once=one_by_one)
            output.flush()
        except Exception as error:
            _send(output, (True, error), at_once=True)


def _send(output: Any, value: Any, *, at_once: bool) -> None:
    output.write(pickle.dumps(value))
    if at_once:
        output.flush()


def _receive(tasks: SimpleQueue[bytes]) -> None:
    """Receive tasks until the process that sends them ends, or has no more; then end this one, whatever it is doing."""
    while length := sys.stdin.buffer.read(_LENGTH_BYTES):
        tasks.put(sys.stdin.buffer.read(int.from_bytes(length, "big")))
    os._exit(0)
