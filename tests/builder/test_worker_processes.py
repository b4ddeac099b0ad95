"""Results in order from any number of processes, whatever an item does to its process."""

import os
import select
import signal
from functools import partial

import pytest
from cytoimagenet.builder.child import ChildError
from cytoimagenet.builder.errors import UnreadableImageError
from cytoimagenet.builder.worker_processes import Died, WorkerProcesses, in_processes

from tests.builder import work


@pytest.mark.parametrize(("workers", "group"), [(1, 1), (2, 4), (3, 100)])
def test_results_are_in_order(workers, group):
    assert list(in_processes(work.square, range(20), workers=workers, group=group)) == [n * n for n in range(20)]


def test_items_are_consumed_as_workers_become_free():
    taken = []
    results = in_processes(work.square, (taken.append(n) or n for n in range(1000)), workers=1, group=10)
    assert [next(results) for _ in range(10)] == [n * n for n in range(10)]
    assert len(taken) <= 40
    results.close()


@pytest.mark.parametrize("group", [1, 4, 10])
def test_an_item_that_ends_its_process_twice_has_no_result(group, tmp_path):
    do = partial(work.dying, str(tmp_path), (0, 5, 6), 3)
    found = list(in_processes(do, range(10), workers=2, group=group))
    # 3 dies once: that may have had another reason
    assert found == [Died(-signal.SIGKILL) if n in (0, 5, 6) else n for n in range(10)]
    assert (tmp_path / "3").exists()


def test_a_final_status_is_not_tried_again(tmp_path):
    do = partial(work.counted, str(tmp_path))
    found = in_processes(do, [7], workers=1, is_final=lambda status: status == -signal.SIGKILL)
    assert list(found) == [Died(-signal.SIGKILL)]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_is_raised_here_and_the_processes_end():
    results = in_processes(work.failing, range(10), workers=2, group=2)
    with pytest.raises(UnreadableImageError, match=r"no pixels \[3\]"):
        list(results)


def test_a_result_that_cannot_be_sent_disturbs_no_other(capfd):
    assert list(in_processes(work.sometimes_unsendable, range(3), workers=1, group=3)) == [0, Died(1), 2]
    assert "pickle" in capfd.readouterr().err.lower()


def test_what_libraries_print_is_not_taken_for_a_result(capfd):
    assert list(in_processes(work.printing, [1, 2], workers=1)) == [1, 2]
    assert capfd.readouterr().err.split() == ["1", "2"]


def test_a_process_that_does_not_start_is_an_error(monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(ChildError, match="does not start: it ended with the status 1"):
        list(in_processes(work.square, [1], workers=1))


def test_relative_paths_are_those_of_the_program(tmp_path, monkeypatch):
    processes = WorkerProcesses(os.path.abspath)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert processes.results(["image.tif"]) == [str(tmp_path / folder / "image.tif")]


@pytest.mark.parametrize("end", ["close", "kill"])
def test_no_process_stays(end, tmp_path):
    """The processes end with the iterator, and with the process that started them, in the middle of an item."""
    if end == "close":
        results = in_processes(partial(work.waiting, str(tmp_path)), [0, 1], workers=1)
        next(results)
        results.close()
    else:
        started = os.fork()
        if started == 0:
            for _ in in_processes(partial(work.waiting, str(tmp_path)), [0, 1], workers=1):
                os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(started, 0)
    (pid,) = (int(path.name) for path in tmp_path.iterdir())
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    assert select.select([handle], [], [], 60)[0], "it runs on"  # readable when the process has ended
