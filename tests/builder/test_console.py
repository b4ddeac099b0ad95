"""The frame of the command line: help, its panels, and the message of an interrupted command."""

import pytest
import typer
from cytoimagenet.builder import console
from typer.testing import CliRunner


def test_an_interrupted_command_prints_what_to_do_next(capsys, monkeypatch):
    app = console.application("0")

    @app.command()
    def work() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", ["cytoimagenet", "work"])
    with pytest.raises(SystemExit) as exited:
        console.run(app)
    assert exited.value.code == 130
    printed = capsys.readouterr().err
    assert "the same command can be run again" in " ".join(printed.split())
    assert "Traceback" not in printed


def test_help_is_shown_without_the_line_breaks_of_docstrings(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    app = console.application("0")

    @app.command()
    def work() -> None:
        """Do it.

        The first line of a paragraph
        and the second.

          a command
        """

    @app.command(help="Other words.")
    def rest() -> None:
        """Not shown."""

    shown = CliRunner().invoke(app, ["work", "--help"]).output
    assert "The first line of a paragraph and the second." in shown and "\n a command" in shown
    shown = CliRunner().invoke(app, ["rest", "--help"]).output
    assert "Other words." in shown and "Not shown" not in shown


def test_every_command_is_in_a_panel_of_the_help(monkeypatch):
    """A new command is added to `console.PANELS`."""
    monkeypatch.setenv("COLUMNS", "100")
    app = console.application("0")
    for package in ("builder", "loaders", "training", "eval"):
        __import__(f"cytoimagenet.{package}.commands", fromlist=["add_to"]).add_to(app)
    names = [name for commands in console.PANELS.values() for name in commands]
    assert len(names) == len(set(names)), "a command is in two panels"
    assert set(typer.main.get_command(app).commands) == set(names)
    shown = CliRunner().invoke(app, ["--help"]).output
    titles = [line.strip("╭─╮ ") for line in shown.splitlines() if line.startswith("╭")]
    assert titles == ["Options", *console.PANELS]
    listed = [line.split()[1] for line in shown.splitlines() if line.startswith("│") and line[2:3].isalpha()]
    assert [name for name in listed if name in names] == names  # in the order of the table
