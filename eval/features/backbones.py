"""The networks that compute features, each with a name for the tables and a digest for the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """A network that maps (N, 3, H, W) in [0, 1] to (N, D) features.

    Attributes
    ----------
    name : str
        Its name in tables.
    module : torch.nn.Module
        In evaluation mode; it normalises the images itself.
    digest : str
        SHA-256 of weights, buffers and architecture.
    source : str
        Where it was loaded from: a name or a path.
    """

    name: str
    module: Any
    digest: str
    source: str


def digest_of(module: Any) -> str:
    """Return a SHA-256 of the architecture, weights and buffers of a module, on any device."""
    import torch

    result = hashlib.sha256(repr(module).encode())
    for name, value in sorted(module.state_dict().items()):
        array = value.detach().cpu().contiguous()
        result.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        result.update(array.flatten().view(dtype=torch.uint8).numpy().tobytes() if array.numel() else b"")
    return result.hexdigest()


def backbone(module: Any, name: str, source: str = "") -> Backbone:
    """Give a module a name and a digest, so that `features.extract` can use it."""
    return Backbone(name, module.eval(), digest_of(module), source or name)


def load(what: str) -> Backbone:
    """Load a network by name.

    Parameters
    ----------
    what : str
        As `training.model.load_backbone`: `imagenet`, `random`, `random:SEED`, a folder or a name on the Hub.

    Raises
    ------
    UsageError
        If there is no such network, or the `[imagenet]` extra is not installed.
    """
    from ...training.model import load_backbone
    from ...training.model_names import resolve

    named = resolve(what)
    # a run is named after its folder
    name = named.where.rstrip("/").rsplit("/", 1)[-1] or what
    return backbone(load_backbone(what), name, what)
