"""Two runs never write to one folder."""

import multiprocessing
import subprocess
import sys

import pytest
from cytoimagenet.builder.archive.import_kaggle import import_archive
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.locks import only_run
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.training.train import train

from tests.builder.archive.test_import_kaggle import files_of, images, pack, rows
from tests.builder.curate import curated_sources

BUSY = "Another run is writing to this folder"


def test_a_second_run_is_refused_until_the_first_ends(tmp_path):
    with only_run(tmp_path / "out"):
        with pytest.raises(UsageError, match=BUSY) as raised, only_run(tmp_path / "out"):
            pass
        assert raised.value.where == str(tmp_path / "out")
        with only_run(tmp_path / "other"):
            pass
        (tmp_path / "out" / "work").touch()
    with only_run(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "work").exists()


def test_a_run_that_wrote_nothing_leaves_no_folder(tmp_path):
    with only_run(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with only_run(tmp_path / "mine"):
        pass
    assert (tmp_path / "mine").is_dir()


def test_the_lock_ends_with_a_killed_process(tmp_path):
    code = """
import os, signal, sys
from cytoimagenet.builder.locks import only_run
with only_run(sys.argv[1]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    assert ended.returncode == -9
    with only_run(tmp_path / "out"):
        pass


def test_other_storage_is_not_locked():
    with only_run("memory://out"), only_run("memory://out"):
        pass


def test_every_command_that_fills_a_folder_is_alone(tmp_path, small_curated, small_dataset):
    selection = curated_sources.make(tmp_path / "raw", images=1)
    archive = pack(tmp_path, files_of(rows(), images()), rows(), "zip")
    for folder, run in {
        "sharded": lambda out: write_dataset(small_curated, out),
        "curated": lambda out: curate(selection, tmp_path / "raw", out, workers=0),
        "imported.import": lambda out: import_archive(archive, str(out).removesuffix(".import")),
        "imported": lambda out: import_archive(archive, out),
        "run": lambda out: train(small_dataset, out),
    }.items():
        with only_run(tmp_path / folder), pytest.raises(UsageError, match=BUSY):
            run(tmp_path / folder)


def test_a_forked_process_does_not_keep_the_lock(tmp_path):
    context = multiprocessing.get_context("fork")
    started, end = context.Event(), context.Event()
    with only_run(tmp_path):
        child = context.Process(target=lambda: (started.set(), end.wait()))
        child.start()
        started.wait()
        with pytest.raises(UsageError):
            with only_run(tmp_path):
                pass
    with only_run(tmp_path):  # the child of the first run is still running
        assert child.is_alive()
    end.set()
    child.join()
