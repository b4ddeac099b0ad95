"""The frame of the command line: help, its panels, and the message of an interrupted command."""

import json
import signal
import subprocess
import sys

import pytest
import typer
from cytoimagenet.builder import console
from rich.table import Table
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


def test_no_help_loses_the_brackets_of_an_extra(monkeypatch):
    """In help, `[build]` is markup of the terminal unless it is written `\\[build]`."""
    monkeypatch.setenv("COLUMNS", "200")
    app = console.application("0")
    for package in ("builder", "loaders", "training", "eval"):
        __import__(f"cytoimagenet.{package}.commands", fromlist=["add_to"]).add_to(app)
    found = 0
    for name in (name for commands in console.PANELS.values() for name in commands):
        shown = " ".join(CliRunner().invoke(app, [name, "--help"]).output.split())
        assert "pip install 'cytoimagenet'" not in shown, name
        found += "pip install 'cytoimagenet[" in shown
    assert found >= 2


ESCAPES = "a\x1b]0;owned\x07 \x1b[2J\x9b31m \u202egnp.exe\r[bold]:cat:"


def test_text_of_files_can_not_command_the_terminal(capsys):
    table = Table("label")
    table.add_row(ESCAPES)
    for shown in (ESCAPES, table):
        console.out.print(shown)
    console.err.print(ESCAPES, style="bold red")
    printed = "".join(capsys.readouterr())
    assert printed.count(r"a\x1b]0;owned\x07 \x1b[2J\x9b31m \u202egnp.exe\r[bold]:cat:") == 3
    assert not set(printed) & set("\x1b\x07\x9b\u202e\r")


def test_json_is_the_same_data_without_control_characters(capsys):
    value = {ESCAPES: ["\x7f", "µ", "\ud800"]}
    console.emit(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "µ" in printed
    assert not set(printed) & set("\x1b\x07\x9b\u202e\r\x7f\ud800")


MICRO = """
from cytoimagenet.builder import console
app = console.application("0")
@app.command()
def show(json: bool = False) -> None:
    console.emit({"unit": "µm"}) if json else console.out.print("3 µm")
@app.command()
def fail() -> None:
    raise console.CytoImageNetError("µ", where="a\\udcff")
console.run(app)
"""


@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        (["show"], "3 \\xb5m\n", ""),
        (["show", "--json"], '{\n  "unit": "\\u00b5m"\n}\n', ""),
        (["fail"], "", "Error: \\xb5\nWhere: a\\udcff\n"),
    ],
)
def test_a_terminal_that_lacks_a_character_is_no_error(words, out, err):
    done = subprocess.run(
        [sys.executable, "-c", MICRO, *words],
        env={"PYTHONIOENCODING": "ascii", "PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode("ascii") == out
    assert done.stderr.decode("ascii") == err


def test_an_interruption_during_the_imports_is_no_traceback():
    code = f"""
import os, sys
from importlib import import_module
import cytoimagenet
def importing(name):
    os.kill(os.getpid(), {int(signal.SIGINT)})
    return import_module(name)
cytoimagenet.import_module = importing
cytoimagenet.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted.\n")
