"""Commands that move a dataset folder: push, pull."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
