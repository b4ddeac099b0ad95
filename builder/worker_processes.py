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
import traceback
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from queue import SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from .child import ChildError, command_of

Item = TypeVar("Item")
Result = TypeVar("Result")

TRIES = 2  # processes that an item may end, when items are tried one by one; the first may have had another reason
GROUPS_AHEAD_PER_WORKER = 2  # so that no worker waits while the results are used
PIPE_BYTES = 2**20  # the most that Linux allows by default
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
    left = iter(items)
    waiting: deque[Future[list[Result | Died]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="cytoimagenet-worker") as pool:
        processes = WorkerProcesses(function, is_final)
        try:
            while some := list(islice(left, group)):
                waiting.append(pool.submit(processes.results, some))
                if len(waiting) > GROUPS_AHEAD_PER_WORKER * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
            processes.close()


class WorkerProcesses(Generic[Item, Result]):
    """Worker processes that call one function, for any number of threads: one for each call at the same time.

    They are started when they are needed, and end with `close` or when this object is no longer used.

    Parameters
    ----------
    function, is_final
        As `in_processes`.
    """

    def __init__(
        self, function: Callable[[Item], Result], is_final: Callable[[int], bool] = lambda status: False
    ) -> None:
        self._function, self._is_final = function, is_final
        self._renew()

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._all: list[_Process] = []
        self._idle: list[_Process] = []  # the last one first: a few items start few processes
        self._end = weakref.finalize(self, _close, self._all)

    def results(self, items: Sequence[Item]) -> list[Result | Died]:
        """Return the results of some items, all from one process."""
        if self._owner != os.getpid():  # forked: the processes belong to the parent
            self._end.detach()
            self._renew()
        try:
            process = self._idle.pop()
        except IndexError:
            process = _Process(self._function)
            self._all.append(process)
        try:
            return _results(process, items, self._is_final)
        finally:
            self._idle.append(process)

    def close(self) -> None:
        """End all processes, whatever they are doing."""
        self._end()


def _close(processes: Sequence[_Process]) -> None:
    for process in processes:
        process.close()


def cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _results(process: _Process, items: Sequence[Any], is_final: Callable[[int], bool]) -> list[Any]:
    results: list[Any] = []
    one_by_one = len(items) == 1
    deaths = 0  # at the next item
    while len(results) < len(items):
        found, status = process.call(items[len(results) :], one_by_one=one_by_one)
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
    """A worker process that calls one function, started when it is needed, and again after it died."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # of starting and closing

    def call(self, items: Sequence[Any], *, one_by_one: bool) -> tuple[list[Any], int | None]:
        """Return the results of the first items, and the exit status of the process if it died.

        `one_by_one`: pass on every result at once, so that it died with the item after them.
        """
        running = self._running or self._start()
        assert running.stdout is not None
        results: list[Any] = []
        try:
            _write_task(running, (items, one_by_one, _working_directory()))
            raised = False
            while not raised and len(results) < len(items):
                raised, result = pickle.load(running.stdout)  # noqa: S301 - written by our own code
                results.append(result)
        except (BrokenPipeError, EOFError, pickle.UnpicklingError):
            self._running = None
            return results, _end(running)
        if raised:
            raise results[-1]
        return results, None

    def _start(self) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise ChildError("The worker processes were ended")
            running = subprocess.Popen(command_of(__name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._running = running
        _enlarge(running.stdout)
        assert running.stdout is not None
        try:
            pickle.load(running.stdout)  # noqa: S301 - written by our own code
        except (EOFError, pickle.UnpicklingError) as error:
            raise ChildError(f"A worker process does not start: it ended with the status {_end(running)}") from error
        _write_task(running, self._function)
        return running

    def close(self) -> None:
        """End the process, whatever it is doing."""
        with self._lock:
            self._closed = True
            if self._running is not None:
                self._running.kill()
                _end(self._running)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was deleted
        return None


def _write_task(process: subprocess.Popen[bytes], task: Any) -> None:
    assert process.stdin is not None
    packed = pickle.dumps(task)
    process.stdin.write(len(packed).to_bytes(_LENGTH_BYTES, "big") + packed)
    process.stdin.flush()


def _enlarge(pipe: Any) -> None:
    """Enlarge a pipe where the system can (Linux, up to a limit), so that an image needs fewer changes of process."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass


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
    """Call the function that is sent first for the items that follow; write each result, or what it raised."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one reports it, and ends this one
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get between the results
    tasks: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(tasks,), daemon=True).start()
    _send(output, _READY, at_once=True)
    packed = tasks.get()
    while True:
        for raised, result, at_once in _outcomes(packed, tasks.get()):
            try:
                _send(output, (raised, result), at_once=at_once)
            except Exception:  # it can't be pickled, but a part of it may have been written already
                traceback.print_exc()
                os._exit(1)
        output.flush()


def _outcomes(packed: bytes, task: bytes) -> Generator[tuple[bool, Any, bool], None, None]:
    """Yield the result for each item of a task, or what was raised in place of the first that fails.

    Yields
    ------
    (raised, result or error, whether to pass it on at once)
    """
    try:
        function = _unpacked(packed)
        items, one_by_one, directory = pickle.loads(task)  # noqa: S301 - written by our own code
        if directory is not None:
            os.chdir(directory)  # relative paths are those of the program, which may have changed its directory
        for item in items:
            yield False, function(item), one_by_one
    except Exception as error:
        yield True, error, True


@cache
def _unpacked(function: bytes) -> Callable[[Any], Any]:
    unpacked: Callable[[Any], Any] = pickle.loads(function)  # noqa: S301 - written by our own code
    return unpacked


def _send(output: Any, value: Any, *, at_once: bool) -> None:
    # directly and with this protocol: the pixels of an array are not copied before they are written
    pickle.dump(value, output, pickle.HIGHEST_PROTOCOL)
    if at_once:
        output.flush()


def _receive(tasks: SimpleQueue[bytes]) -> None:
    """Receive tasks until the process that sends them ends, or has no more; then end this one, whatever it is doing."""
    while length := sys.stdin.buffer.read(_LENGTH_BYTES):
        tasks.put(sys.stdin.buffer.read(int.from_bytes(length, "big")))
    os._exit(0)
