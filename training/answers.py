"""Evaluate a network on batches of images, over all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..loaders.transforms import to_float
from .confusion import Confusion, ConfusionCounter
from .feeding import to_device
from .objective import Objective


@torch.no_grad()
def count_answers(network: nn.Module, objective: Objective, loader: DataLoader[Any]) -> Confusion:
    """Count the answers of a network for each class, over all processes.

    Parameters
    ----------
    network : Module
        A `transformers` image classifier on the device of the objective.
    objective : Objective
    loader : DataLoader
        See `feeding.data_loader`.
    """
    if torch.distributed.is_initialized():  # BatchNorm statistics differ between processes; use those of rank 0
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, 0)
    was_training = network.training
    network.eval()
    counter = ConfusionCounter(objective.classes, objective.device)
    with objective.autocast():  # around all batches: the weights are converted to bfloat16 once
        for batch in loader:
            images, labels = to_device(batch, objective.device)
            # not network(...): a compiled network would be compiled again for evaluation and for the last batch
            logits = network.forward(pixel_values=objective.inputs(to_float(images))).logits
            others = batch.get("alternatives")
            if others is not None:
                others = others.to(objective.device, non_blocking=True)
            counter.add(logits.float(), labels, others)
    network.train(was_training)
    return counter.total()
