"""The networks to compare, each with a name for the tables and a digest for the cache."""

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
        What tables call it.
    module : torch.nn.Module
        In evaluation mode, its normalisation inside.
    digest : str
        SHA-256 of weights, buffers and architecture.
    source : str
        Where it came from: a name or a path.
    """

    name: str
    module: Any
    digest: str
    source: str


def digest_of(module: Any) -> str:
    """Return a SHA-256 of a module's architecture, weights and buffers, whatever device they lie on."""
    found = hashlib.sha256(repr(module).encode())
    for name, value in sorted(module.state_dict().items()):
        array = value.detach().cpu().contiguous()
        found.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        found.update(array.flatten().view(dtype=_bytes()).numpy().tobytes() if array.numel() else b"")
    return found.hexdigest()


def _bytes() -> Any:
    import torch

    return torch.uint8


def backbone(module: Any, name: str, source: str = "") -> Backbone:
    """Name a module of your own, so that `features.extract` can take it."""
    return Backbone(name, module.eval(), digest_of(module), source or name)


def load(what: str) -> Backbone:
    """Load a network by name.

    Parameters
    ----------
    what : str
        `random` or `random:SEED`; `imagenet`; else a training run, a converted network or any `transformers` model
        (a local folder, or a name on the Hub).

    Raises
    ------
    UsageError
        If there is no such network, or the `[imagenet]` extra is not installed.
    """
    from ...training import model

    kind, _, rest = what.partition(":")
    if kind == "random" and (not rest or rest.isdigit()):
        return backbone(model.random_backbone(int(rest or 0)), what, what)
    if what == "imagenet":
        return backbone(model.imagenet_backbone(), "imagenet", what)
    # a folder's name is what people call a run
    return backbone(model.load_backbone(what), what.rstrip("/").rsplit("/", 1)[-1], what)
