"""Features on a GPU, as far as a CPU can show: no waits before results are fetched, the trial of precisions, keys."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from cytoimagenet.eval.features import backbones, cache, engine, precision, trial
from cytoimagenet.eval.features import extract as module
from cytoimagenet.eval.features.cache import Inputs
from cytoimagenet.eval.features.mean_intensity import mean_intensity
from cytoimagenet.eval.features.processes import Processes

from .test_extract import Moments, made

spec = importlib.util.spec_from_file_location("meta_device", Path(__file__).parents[2] / "training" / "meta_device.py")
meta_device = importlib.util.module_from_spec(spec)
spec.loader.exec_module(meta_device)


class Convolution(torch.nn.Module):
    """A convolution and a mean over the image."""

    def __init__(self, scale=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 8, 3)
        self.scale = scale

    def forward(self, x):
        return self.layer(x).mean((2, 3)) * self.scale


@pytest.mark.parametrize("name", precision.PRECISIONS)
def test_starting_a_batch_does_not_wait_for_the_device(name):
    with meta_device.Spy() as spy:
        run = engine._torch(Convolution(), "meta", name)
        spy.waits.clear()
        for _ in range(3):
            run.start(np.zeros((4, 8, 8), np.float32))
        assert not spy.waits
    assert sum(spy.operations.values()) > 9


class Recorded:
    """Stands for a runner on a GPU; records when batches are started and fetched."""

    def __init__(self):
        self.events = []

    def __call__(self, *_, **__):
        return engine.Runner(self.start)

    def start(self, grey):
        number = sum(what == "start" for what, _ in self.events)
        self.events.append(("start", number))

        def wait():
            self.events.append(("fetch", number))
            return grey.reshape(len(grey), -1)[:, :2].copy()

        return wait


def test_results_are_fetched_one_batch_late(rng, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_CHUNK", 16)
    monkeypatch.setattr(module, "BATCH_PIXELS", 8 * 120)
    recorded = Recorded()
    monkeypatch.setattr(module, "runner", recorded)
    pixels = rng.integers(0, 60000, (37, 1, 12, 10)).astype(np.uint16)
    found = module.extract(made(pixels), backbones.backbone(Moments(), "m"), methods=["merge-raw"], cache=tmp_path)
    batches = 2 + 2 + 1  # of at most 8 samples, in chunks of 16: also from chunk to chunk
    expected = [("start", 0)]
    for number in range(1, batches):
        expected += [("start", number), ("fetch", number - 1)]
    assert recorded.events == [*expected, ("fetch", batches - 1)]
    flat = pixels.reshape(37, -1)[:, :2] / np.float32(65535)
    np.testing.assert_allclose(found["m", "merge-raw"].values, flat, rtol=1e-6)


def speeds(**rates):
    return {name: {"images_per_second": rate, "cosine": c, "error": e} for name, (rate, c, e) in rates.items()}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (speeds(float32=(8, 1, 0), tf32=(12, 0.99999, 0.001), float16=(16, 0.9999, 0.01)), "float16"),
        (speeds(float32=(8, 1, 0), float16=(16, 0.9989, 0.01), bfloat16=(17, 0.95, 0.3)), "float32"),
        (speeds(float32=(8, 1, 0), float16=(16, 0.9999, 0.05)), "float32"),
        (speeds(float32=(8, 1, 0), float16=(7, 1, 0), bfloat16=(6, 1, 0)), "float32"),
        (speeds(float16=(7, 1, 0)), "float16"),
        ({}, "float32"),
    ],
)
def test_the_fastest_precision_that_agrees_is_chosen(found, expected):
    assert precision.choose_precision(found) == expected


def test_agreement_is_that_of_a_loop(rng):
    a, b = rng.normal(size=(2, 9, 5)).astype(np.float32)
    cosines = [np.dot(x, y) / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    errors = [np.linalg.norm(x - y) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert precision.agreement(a, b) == pytest.approx((min(cosines), max(errors)), rel=1e-5)
    a[3, 2] = np.inf
    assert precision.agreement(a, b)[0] == -1


def on_cpu(network):
    return lambda name: engine.runner(network, "n", (32, 32), "torch", "cpu", name)


def test_a_trial_compares_every_precision_with_float32(rng):
    views = rng.random((6, 32, 32), dtype=np.float32)
    network = Convolution()
    found = trial.run_trial(views, 8, on_cpu(network), on_cpu(network)("float32"))
    assert set(found) == set(precision.PRECISIONS)
    assert found["float32"]["cosine"] == 1
    assert found["float32"]["error"] == 0
    assert 0 < found["float16"]["error"] < found["bfloat16"]["error"]
    assert next(network.parameters()).dtype == torch.float32, "the network itself is not changed"


def test_a_precision_in_which_the_network_fails_is_not_chosen(rng):
    views = rng.random((2, 32, 32), dtype=np.float32)
    network = Convolution(scale=1e6)  # beyond the largest number of float16
    found = trial.run_trial(views, 2, on_cpu(network), on_cpu(network)("float32"))
    assert found["float16"]["cosine"] == -1

    class Mixed(Convolution):
        def forward(self, x):
            return super().forward(x) @ torch.eye(8)  # float32

    found = trial.run_trial(views, 2, on_cpu(Mixed()), on_cpu(Mixed())("float32"))
    assert set(found) == {"float32", "tf32"}


def test_features_of_a_cpu_keep_their_key_and_a_gpu_has_its_own(tmp_path):
    network = backbones.backbone(Moments(), "m")
    inputs = Inputs("digest of the images", 224, (224, 224), "torch")
    determines = {
        "version": cache.CACHE_VERSION, "weights": network.digest, "preprocess": "merge-raw",
        "images": "digest of the images", "input_size": 224, "engine": "torch",
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:16]
    places = ["cpu float32", "cuda:0 float32", "cuda:1 float32", "cuda tf32", "mps tf32"]
    computed = [precision.computed_as(*place.split()) for place in places]
    folders = [cache.folder_of(tmp_path, network, "merge-raw", inputs, one).name for one in computed]
    assert folders[0] == f"m-merge-raw-{key}"
    assert folders[1] == folders[2]
    assert len(set(folders)) == 4


def test_a_trial_runs_once_and_is_recorded(rng, tmp_path, monkeypatch):
    """The device is called `cuda`, but everything is computed on the CPU."""
    monkeypatch.setattr(Processes, "__init__", lambda self: self.__dict__.update(
        device="cuda", index=0, count=1, is_main=True, wait=lambda: None))  # fmt: skip
    asked = []
    real = engine.runner

    def on_the_cpu(network, name, size, engine="torch", device="cpu", precision="float32"):
        asked.append((name, device, precision))
        return real(network, name, size, engine, "cpu", precision)

    for place in (module, trial):
        monkeypatch.setattr(place, "runner", on_the_cpu)
    pixels = rng.integers(0, 60000, (9, 2, 12, 10)).astype(np.uint16)
    both = [backbones.backbone(Convolution(), "conv"), mean_intensity()]
    options = {"methods": ["concat-norm"], "cache": tmp_path, "engine": "torch"}
    found = module.extract(made(pixels), both, **options)
    settings = {name: table.settings for (name, _), table in found.items()}
    assert settings["conv"]["precision"] == precision.choose_precision(settings["conv"]["trial"])
    assert set(settings["conv"]["trial"]) == set(precision.PRECISIONS)
    assert settings["mean-intensity"]["precision"] == "float32"
    assert not settings["mean-intensity"]["trial"]
    tried = [entry for entry in asked if entry[0] == "conv"]
    assert len(tried) == 1 + len(precision.PRECISIONS) + 1, "the reference, the trial, the features"
    asked.clear()
    again = module.extract(made(np.copy(pixels)), both, **options)
    assert not asked
    assert np.array_equal(again["conv", "concat-norm"].values, found["conv", "concat-norm"].values)


def test_tf32_is_off_outside_a_runner_that_asks_for_it():
    before = torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    for allowed in (False, True):
        with precision.tf32_allowed(allowed):
            assert torch.backends.cudnn.allow_tf32 == allowed
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    assert (torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()) == before
