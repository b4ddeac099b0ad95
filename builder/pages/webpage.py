"""A template with its style and its script -> one HTML page in which nothing a user or a file named can become code."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any


def render_page(folder: Path, name: str, **values: Any) -> str:
    """Return a page made of `name`.html, `name`.css and `name`.js.

    Every value is escaped by the template; on top of that the template is given `script_hash` for its content security
    policy, under which only this one script runs.

    Parameters
    ----------
    folder : Path
        Where the three files lie.
    name : str
        Of the files, without ending.
    **values
        What the template shows; one it does not get is an error.
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
