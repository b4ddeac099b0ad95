"""One HTML page from a template, a style and a script; text from users and files can't become code in it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any


def render_page(folder: Path, name: str, **values: Any) -> str:
    """Return the page that `name`.html, `name`.css and `name`.js give together.

    The template escapes every value. It also gets `script_hash` for its content security policy, which allows the
    browser to run this script and no other.

    Parameters
    ----------
    folder : Path
        Folder of the three files.
    name : str
        Name of the files without their ending.
    **values
        Values of the template's variables; a missing one is an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    script = (folder / f"{name}.js").read_text("utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(f"{name}.html").render(
        **values,
        script=Markup(script),  # noqa: S704 -- our own file
        style=Markup((folder / f"{name}.css").read_text("utf-8")),  # noqa: S704 -- our own file
        script_hash=f"sha256-{allowed}",
    )
