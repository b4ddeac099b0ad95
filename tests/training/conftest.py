"""Shared by the tests of training: one thread, and a network small enough to train in a second."""

from __future__ import annotations

import pytest

SMALL = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}


@pytest.fixture(autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> str:
    """A folder with a small EfficientNet (a quarter of the width, seven blocks), for `model=`."""
    from cytoimagenet.training.efficientnet import build_b0

    folder = tmp_path_factory.mktemp("model") / "small"
    build_b0(["one", "two"], seed=0, **SMALL).save_pretrained(folder)
    return str(folder)
