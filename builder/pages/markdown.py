"""Text of others in Markdown."""

from __future__ import annotations

import html
import re
from typing import Any

from ..console import printable


def cell(value: Any) -> str:
    r"""Return a value as text of a Markdown table: on one line, with all markup and control characters escaped.

    Examples
    --------
    >>> cell("a|b <script>")
    'a\\|b &lt;script&gt;'
    """
    text = html.escape(printable(" ".join(str(value).split())), quote=False)
    return re.sub(r"([\\|`*_\[\]])", r"\\\1", text)


def linked(name: str, link: str) -> str:
    r"""Return a name as a Markdown link, if the address is one that can't end the link or run anything.

    Examples
    --------
    >>> linked("Our plate", "https://lab.example/1"), linked("Our plate", "javascript:1"), linked("Our plate", "")
    ('[Our plate](https://lab.example/1)', 'Our plate', 'Our plate')
    """
    safe = re.fullmatch(r"https?://[^\s<>()\[\]|\\`\"]+", link)
    return f"[{cell(name)}]({link})" if safe else cell(name)
