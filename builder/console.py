"""The frame of the command line: the application, the consoles, and how errors are printed."""

from __future__ import annotations

import inspect
import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from .errors import CytoImageNetError
from .extras import naming_the_extra

_Function = TypeVar("_Function", bound=Callable[..., Any])

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal may take for a command, and those that reverse the direction of the text after them."""

_JSON_ESCAPED = re.compile(r"[\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return a text with its control characters made visible; line feeds and tabs stay.

    Labels, names of files and messages of libraries come from files, and must not command the terminal.

    Examples
    --------
    >>> printable("\x1b[31mactin\u202e")
    '\\x1b[31mactin\\u202e'
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _PlainConsole(Console):
    """Prints every text as it is: `[` starts no markup, `:` no emoji, and control characters are made visible."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to be rendered; rich calls this for every text, also for those in tables."""
        return super().render_str(printable(text), **options)


out = _PlainConsole()
err = _PlainConsole(stderr=True)

PANELS = {
    "Your own images": ("images", "features"),
    "Data: get, check and share a dataset": (
        "pull", "import-kaggle", "info", "verify", "preview", "browse", "card", "sign", "push",
    ),
    "Curation: build a dataset from sources": ("sources", "catalog", "label", "curate", "shard", "build", "qc"),
    "Data quality": ("embed", "audit", "similar"),
    "Training": ("train", "cache", "convert-weights", "export", "push-model"),
    "Evaluation": ("eval", "explore", "demo"),
}  # fmt: skip
"""Panel of `cytoimagenet --help`: its commands, in the order in which they are shown. A new command is added here."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 plus the number of the signal, as in shells."""


class _InPanels(TyperGroup):
    """Lists the commands in the order of `PANELS`."""

    def list_commands(self, context: Any) -> list[str]:
        """Return the names of the commands, those of no panel last."""
        order = {name: place for place, name in enumerate(name for names in PANELS.values() for name in names)}
        return sorted(super().list_commands(context), key=lambda name: order.get(name, len(order)))


class _Application(typer.Typer):
    """Groups commands in panels; shows docstrings without line breaks, so that help fits the width of the terminal."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[_Function], _Function]:
        options.setdefault("rich_help_panel", panel_of(name))

        def add(function: _Function) -> _Function:
            text = options.pop("help", None) or _without_line_breaks(inspect.getdoc(function) or "")
            return super(_Application, self).command(name, help=text, **options)(function)

        return add

    def add_typer(self, typer_instance: typer.Typer, *, name: str | None = None, **options: Any) -> None:
        options.setdefault("rich_help_panel", panel_of(name))
        super().add_typer(typer_instance, name=name, **options)


def panel_of(command: str | None) -> str | None:
    """Return the panel of a command in `cytoimagenet --help`.

    Examples
    --------
    >>> panel_of("train")
    'Training'
    """
    return next((panel for panel, commands in PANELS.items() if command in commands), None)


def _without_line_breaks(text: str) -> str:
    """Join the lines of each paragraph; indented lines, such as commands, stay."""
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def application(version: str) -> typer.Typer:
    """Return the application without commands; each package adds its own."""
    app = _Application(
        name="cytoimagenet",
        cls=_InPanels,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Train and test image networks on microscopy: features of your own images, the CytoImageNet dataset, "
        "training on it, and tests of features.",
    )

    def show(value: bool) -> None:
        if value:
            typer.echo(version)
            raise typer.Exit

    @app.callback()
    def frame(
        version: bool = typer.Option(False, "--version", callback=show, is_eager=True, help="Print the version."),
    ) -> None:
        """Define the options of all commands."""

    return app


def run(app: typer.Typer, name: str | None = None) -> NoReturn:
    """Run the application; print an error that the user can act on as plain text, never as a traceback.

    Parameters
    ----------
    app : Typer
    name : str, optional
        Name of the command in its help. Default: that of the running script.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal lacks is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    try:
        with naming_the_extra():
            app(prog_name=name)
    except CytoImageNetError as error:
        fail(error)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            err.print(
                "Interrupted. No half-written file was left under a final name; the same command can be run again."
            )
        raise
    except OSError as error:
        # disk full, permission denied, file not found: the message of the system, and the file
        named = f" [{error.filename}]" if error.filename else ""
        err.print(f"Error: {error.strerror or error}{named}", markup=False)
        err.print("No half-written file was left under a final name. Fix the cause and run the same command again.")
        sys.exit(1)
    sys.exit(0)


def fail(error: CytoImageNetError) -> NoReturn:
    """Print what went wrong, where, and what to do next; exit with the code of the error."""
    err.print(f"Error: {error.what}", style="bold red", markup=False)
    if error.where:
        err.print(f"Where: {error.where}", markup=False)
    if error.next:
        err.print(f"Next:  {error.next}", markup=False)
    sys.exit(error.exit_code)


def emit(value: Any) -> None:
    """Print a value as JSON, for machines (`--json`)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    # JSON escapes only some of the control characters, and can't contain what standard output has no character for
    encoding = sys.stdout.encoding or "utf-8"
    plain = _JSON_ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    try:
        plain.encode(encoding)
    except UnicodeEncodeError:
        plain = json.dumps(value, indent=2, default=str)
    sys.stdout.write(plain + "\n")
