"""A disk that is full, as safetensors and torch report it: one error of the system, and nothing half written."""

from __future__ import annotations

import errno
import resource
from contextlib import contextmanager

import pytest
import torch
from cytoimagenet.training.checkpoints import CheckpointWriter, checkpoint_folder, newest_checkpoint
from cytoimagenet.training.disk import disk_errors
from safetensors.torch import save_file


@contextmanager
def files_of_at_most(size):
    """Let the system refuse larger files, as a full disk does (Python ignores the signal that comes with it)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write(writer, step, weights):
    empty = {"optimizer": {}, "schedule": {}, "trainer_state": "{}", "config": "{}", "preprocessor": "{}"}
    writer.write({"step": step, "parts": []}, weights=weights, extra={"counts": torch.ones(1)}, **empty)


def test_the_checkpoint_before_the_failed_one_stays(tmp_path):
    writer = CheckpointWriter(tmp_path)
    write(writer, 1, {"a": torch.ones(3)})
    writer.wait()
    with pytest.raises(OSError) as raised, disk_errors(tmp_path, newest_checkpoint), files_of_at_most(4096):
        write(writer, 2, {"a": torch.ones(10_000)})
        writer.close()
    assert raised.value.errno == errno.EFBIG
    assert raised.value.filename == str(tmp_path)
    assert not checkpoint_folder(tmp_path, 2).exists()
    assert newest_checkpoint(tmp_path) == checkpoint_folder(tmp_path, 1)


def test_writers_of_torch_and_safetensors(tmp_path):
    values = {"a": torch.ones(100_000)}
    for save in (save_file, torch.save):
        with pytest.raises(OSError) as raised, disk_errors(tmp_path), files_of_at_most(4096):
            save(values, tmp_path / "values")
        assert raised.value.errno in (errno.EFBIG, errno.ENOSPC), save
        assert raised.value.filename == str(tmp_path)


def test_other_errors_are_not_of_the_disk(tmp_path):
    with pytest.raises(RuntimeError, match="CUDA"), disk_errors(tmp_path, pytest.fail):
        raise RuntimeError("CUDA error: out of memory")
