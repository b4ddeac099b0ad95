"""The exponential moving average of a network's weights and BatchNorm statistics."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import nn


class MovingAverage:
    """A copy of a network that follows its weights and buffers.

    An update takes one operation for all floating-point tensors together, and its count is kept on the host: it never
    waits for the device. `torch.optim.swa_utils.AveragedModel` copies its count to the device for each tensor instead.

    Parameters
    ----------
    network : Module
        The network to follow, on its device. Its tensors may change, but may not be replaced by others.
    decay : float
        Weight of the average in an update, below 1. It starts lower and grows towards this value with the number of
        updates, so that a short run forgets its random start.

    Attributes
    ----------
    module : Module
        The averaged network. Counters of batches are those of the network, not averaged.
    updates : int
        Number of updates so far.

    Examples
    --------
    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = MovingAverage(network, decay=0.9)
    >>> for weight in (1.0, 2.0):
    ...     _ = nn.init.constant_(network.weight, weight)
    ...     average.update()
    >>> round(average.module.weight.item(), 4)  # 1, then 2/11 of 1 and 9/11 of 2
    1.8182
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network)
        self.decay, self.updates = decay, 0
        # listed once: to list them takes a millisecond of the host, as long as a tenth of a step of a small batch
        pairs = [*zip(_tensors(self.module), _tensors(network), strict=True)]
        self._averages, self._currents = _columns([pair for pair in pairs if pair[0].is_floating_point()])
        self._copies, self._copied = _columns([pair for pair in pairs if not pair[0].is_floating_point()])

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network; the first update copies it."""
        if self.updates:
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            torch._foreach_lerp_(self._averages, self._currents, 1 - decay)
        else:
            torch._foreach_copy_(self._averages, self._currents)
        if self._copies:
            torch._foreach_copy_(self._copies, self._copied)
        self.updates += 1

    def state(self) -> dict[str, torch.Tensor]:
        """Return the tensors from which `load` restores the average."""
        tensors = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        return {"n_averaged": torch.tensor(self.updates), **tensors}

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what `state` returned."""
        self.updates = int(state["n_averaged"])
        self.module.load_state_dict(
            {name.removeprefix("module."): tensor for name, tensor in state.items() if name != "n_averaged"}
        )


def _tensors(network: nn.Module) -> chain[torch.Tensor]:
    return chain(network.parameters(), network.buffers())


def _columns(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
