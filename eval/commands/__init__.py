"""The commands of `eval`, one module per topic. Heavy imports are inside the commands, so that `--help` is quick."""

from __future__ import annotations

from importlib import import_module

import typer

TOPICS = ("run", "features", "embed", "audit", "explore", "demo")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for topic in TOPICS:
        import_module(f"{__name__}.{topic}").add_to(app)
