"""Commands that make images: curate, build."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
