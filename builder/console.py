"""The command line's frame: one application, one way to print, one way to fail."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

import typer
from rich.console import Console

from .errors import CytoImageNetError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


def application(version: str) -> typer.Typer:
    """Make the empty application; each room adds its commands to it."""
    app = typer.Typer(
        name="cytoimagenet",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Microscopy images to pretrain on: raw sources -> dataset -> training -> transfer scores.",
    )

    def show(value: bool) -> None:
        if value:
            typer.echo(version)
            raise typer.Exit

    @app.callback()
    def frame(
        version: bool = typer.Option(False, "--version", callback=show, is_eager=True, help="Print the version."),
    ) -> None:
        """Hold what all commands share."""

    return app


def run(app: typer.Typer) -> NoReturn:
    """Run the application; an error the user can act on is printed in plain lines, never as a traceback."""
    try:
        app()
    except CytoImageNetError as error:
        fail(error)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            err.print(
                "Interrupted. Nothing half-written was left under a final name; the same command can be run again."
            )
        raise
    except OSError as error:
        # disk full, permission denied, file not found: the system's own words, and the file it speaks of
        named = f" [{error.filename}]" if error.filename else ""
        err.print(f"Error: {error.strerror or error}{named}", markup=False)
        err.print("Nothing half-written was left under a final name. Mend the cause and run the same command again.")
        sys.exit(1)
    sys.exit(0)


def fail(error: CytoImageNetError) -> NoReturn:
    """Print what, where and what next, and leave with the error's exit code."""
    err.print(f"Error: {error.what}", style="bold red", markup=False)
    if error.where:
        err.print(f"Where: {error.where}", markup=False)
    if error.next:
        err.print(f"Next:  {error.next}", markup=False)
    sys.exit(error.exit_code)


def emit(value: Any) -> None:
    """Print a value as JSON, for machines (`--json`)."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
