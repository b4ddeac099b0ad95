"""The commands of the builder room. Heavy imports stay inside the commands, so that `--help` is quick."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Add this room's commands to the application."""
