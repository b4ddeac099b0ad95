"""Pages of the site that are generated from the program: commands from their help, Python names from docstrings."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

PYTHON = {
    "Your own images": ("extract_features", "evaluate"),
    "The dataset": ("load_dataset", "CytoImageNet", "read_images", "import_archive"),
    "Training": ("stream", "webdataset", "MapDataset", "class_weights", "train", "load_backbone"),
    "Curation": ("SOURCES", "assign_labels", "read_channel", "normalise", "merge_channels"),
}
"""Section of the page of Python names: its names. Every public name is in one."""


def application() -> Any:
    """Return the command line as a click group."""
    import cytoimagenet
    import typer

    console = import_module("cytoimagenet.builder.console")
    app = console.application(cytoimagenet.__version__)
    for package in ("builder", "loaders", "training", "eval"):
        import_module(f"cytoimagenet.{package}.commands").add_to(app)
    return typer.main.get_command(app)


def commands() -> str:
    """Return the page of all commands, by the panels of `cytoimagenet --help`."""
    panels = import_module("cytoimagenet.builder.console").PANELS
    group = application()
    parts = ["# Commands", "Generated from `cytoimagenet COMMAND --help`."]
    for panel, names in panels.items():
        parts.append(f"## {panel}")
        for name in names:
            command = group.commands[name]
            parts += _command(f"cytoimagenet {name}", command, "###")
            for inner, sub in getattr(command, "commands", {}).items():
                parts += _command(f"cytoimagenet {name} {inner}", sub, "####")
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any, heading: str) -> list[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not getattr(p, "hidden", False)]
    options = [p for p in options if "--help" not in p.opts]
    shown = " ".join(
        [name, *(_metavar(p) if p.required else f"[{_metavar(p).strip('[]')}]" for p in arguments)]
        + (["[OPTIONS]"] if options else [])
        + (["COMMAND"] if hasattr(command, "commands") else [])
    )
    parts = [f"{heading} {name.removeprefix('cytoimagenet ')}", _prose(command.help or ""), f"```sh\n{shown}\n```"]
    lines = [f"| `{_metavar(p)}` | {_cell(p.help or '')} |" for p in arguments]
    lines += [f"| {', '.join(f'`{opt}`' for opt in p.opts)} | {_cell(p.help or '')}{_default(p)} |" for p in options]
    if lines:
        parts.append("\n".join(["| argument or option | meaning |", "|---|---|", *lines]))
    examples = [line.strip() for line in (command.epilog or "").splitlines() if line.strip()]
    examples = [line for line in examples if not re.match(r"(\[bold\])?Examples", line)]
    if examples:
        parts.append("\n".join(["```sh", *examples, "```"]))
    return parts


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _prose(text: str) -> str:
    """Return a help text as Markdown, without indented lines becoming code."""
    text = re.sub(r"\[/?(bold|dim|italic)\]", "", text).replace("\f", "").replace("\b", "")
    return "\n\n".join(_escape(" ".join(part.split())) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return _prose(text).replace("\n", " ").replace("|", "\\|")


def _escape(text: str) -> str:
    """Set options such as `--out` as code; keep other signs of a plain text from being read as Markdown."""
    text = re.sub(r"(?<![\w`-])(--[a-z][\w-]*)(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"`\1`", text)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*_\[\]$])", r"\\\1", part) for part in parts)


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or isinstance(value, bool) or callable(value) or value in ("", [], ()):
        return ""
    if "UNSET" in str(value).upper():
        return ""
    value = getattr(value, "value", value)
    return f" Default: `{value}`."


def python() -> str:
    """Return the page of all public names; Sphinx reads their docstrings."""
    import cytoimagenet

    parts = ["# Python", "Generated from the docstrings. Import these names from `cytoimagenet`."]
    for section, names in PYTHON.items():
        parts.append(f"## {section}")
        for name in names:
            value = getattr(cytoimagenet, name)
            kind = "autoclass" if isinstance(value, type) else "autofunction" if callable(value) else "autodata"
            more = "\n   :members:" if kind == "autoclass" else "\n   :no-value:" if kind == "autodata" else ""
            parts.append(f"### {name}\n\n```{{eval-rst}}\n.. {kind}:: cytoimagenet.{name}{more}\n```")
    return "\n\n".join(parts) + "\n"
