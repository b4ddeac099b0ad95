"""Precision and global flags of a run; torch has the flags of a GPU also where there is none."""

from __future__ import annotations

import pytest
import torch
from cytoimagenet.training.device import device_flags, uses_bf16
from cytoimagenet.training.recipes import settings


def flags():
    return (
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
    )


def test_a_cpu_has_no_flags():
    before = flags()
    with device_flags(settings("paper", deterministic=True)):
        assert flags() == before


@pytest.mark.parametrize(
    ("deterministic", "expected"), [(False, (True, False, "high", False)), (True, (False, True, "high", True))]
)
def test_the_flags_of_a_gpu_are_set_and_restored(monkeypatch, deterministic, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # restored after the test
    before = flags()
    with pytest.raises(ZeroDivisionError), device_flags(settings("paper", deterministic=deterministic)):
        assert flags() == expected
        raise ZeroDivisionError
    assert flags() == before


@pytest.mark.parametrize(
    ("precision", "gpu", "has_bf16", "expected"),
    [
        ("auto", False, False, False),
        ("auto", True, True, True),
        ("auto", True, False, False),
        ("fp32", True, True, False),
        ("bf16", False, False, True),
    ],
)
def test_bf16_is_used_on_gpus_that_have_it(monkeypatch, precision, gpu, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    assert uses_bf16(settings("paper", precision=precision)) == expected
