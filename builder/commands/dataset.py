"""Commands over a dataset folder: shard, verify, info, preview, card, browse."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
