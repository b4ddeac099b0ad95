"""The commands of `builder`, one module per topic. Heavy imports are inside the commands, so that `--help` is quick."""

from __future__ import annotations

from importlib import import_module

import typer

TOPICS = ("images", "catalog", "label", "curate", "dataset", "archive", "hub")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for topic in TOPICS:
        import_module(f"{__name__}.{topic}").add_to(app)
