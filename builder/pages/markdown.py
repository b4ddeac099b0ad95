"""Text of others in Markdown."""

from __future__ import annotations

import html
import re
from typing import Any


def cell(value: Any) -> str:
    r"""Return a value as text of a Markdown table: on one line, with all markup escaped.

    Examples
    --------
    >>> cell("a|b <script>")
    'a\\|b &lt;script&gt;'
    """
    text = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", text)
