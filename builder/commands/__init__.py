"""The commands of `builder`, one module a theme. Heavy imports stay inside the commands: `--help` is quick."""

from __future__ import annotations

from importlib import import_module

import typer

THEMES = ("images", "catalog", "label", "curate", "dataset", "archive", "hub")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for theme in THEMES:
        import_module(f"{__name__}.{theme}").add_to(app)
