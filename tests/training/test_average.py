"""The moving average of the weights has the values of torch's own, which is slower."""

from __future__ import annotations

import copy

import pytest
import torch
from cytoimagenet.training.average import MovingAverage
from cytoimagenet.training.efficientnet import build_b0
from torch.optim.swa_utils import AveragedModel

SMALL = {"width_coefficient": 0.25, "depth_coefficient": 0.1, "hidden_dim": 320}


@pytest.fixture
def network():
    return build_b0(["one", "two"], seed=0, **SMALL).to(memory_format=torch.channels_last).train()


def train(network, steps, seed=0):
    """Change all weights and the statistics of BatchNorm; yield after each step."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
            network(pixel_values=torch.rand(2, 3, 32, 32, generator=generator))
        yield


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_weights_and_statistics_are_those_of_torch(network, decay):
    def update(average, current, updates):
        if not average.is_floating_point():
            return current
        share = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        return average + (current - average) * share

    expected = AveragedModel(network, avg_fn=update, use_buffers=True)
    average = MovingAverage(network, decay)
    for _ in train(network, 12):
        expected.update_parameters(network)
        average.update()
    found = average.module.state_dict()
    assert average.updates == int(expected.n_averaged) == 12
    for name, value in expected.module.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6)
    moved = [(found[name] - value).abs().max() for name, value in network.state_dict().items() if value.ndim]
    assert min(moved) > 1e-3, "weights and statistics differ from the last ones"
    counters = [name for name in found if name.endswith("num_batches_tracked")]
    assert len(counters) > 10
    assert all(found[name] == 12 for name in counters), "counters are copied"


def test_a_restored_average_continues_with_the_same_values(network):
    states = [copy.deepcopy(network.state_dict()) for _ in train(network, 6)]
    average = MovingAverage(network, 0.9)
    for step, state in enumerate(states):
        network.load_state_dict(state)
        average.update()
        if step == 2:
            stored = copy.deepcopy(average.state())
    restored = MovingAverage(network, 0.9)
    restored.load(stored)
    for state in states[3:]:
        network.load_state_dict(state)
        restored.update()
    assert restored.updates == average.updates == 6
    found = restored.module.state_dict()
    assert all(torch.equal(found[name], value) for name, value in average.module.state_dict().items())


def test_the_average_keeps_the_memory_layout(network):
    average = MovingAverage(network, 0.9)
    for ours, theirs in zip(average.module.parameters(), network.parameters(), strict=True):
        assert ours.stride() == theirs.stride()
        assert ours.data_ptr() != theirs.data_ptr()
