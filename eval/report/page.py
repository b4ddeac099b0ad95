"""One HTML page that needs nothing but itself: tables that sort, figures inside, readable on a phone.

Everything a user or a file named is escaped by the template; on top of that the page carries a content security policy
under which only its own script runs and nothing is fetched.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from ...builder.errors import UsageError
from ...builder.pages.webpage import render_page
from ...builder.storage import write_atomic

TEMPLATES = Path(__file__).parent / "templates"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Cell:
    """A value of a table with something more to say.

    Attributes
    ----------
    text : str
        What is shown.
    sort : float or str, optional
        What the column is sorted by; by default the text.
    note : str
        Small print below the text.
    tone : str
        `good`, `bad`, `quiet`, or empty.
    heat : float, optional
        0 to 1: how strongly the cell is coloured.
    """

    text: str
    sort: float | str | None = None
    note: str = ""
    tone: str = ""
    heat: float | None = None


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes
    ----------
    columns : sequence of str
        The headers.
    rows : sequence of sequences
        Text, numbers or `Cell`; as many as there are columns.
    title : str
        Shown above the table.
    note : str
        Small print below it.
    sortable : bool
        A click on a header sorts.
    matrix : bool
        A square of numbers (a confusion): narrow columns with slanted headers, never sorted.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""
    note: str = ""
    sortable: bool = True
    matrix: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title!r}: a row of {len(row)} cells under {len(self.columns)} columns")

    def cells(self) -> list[list[Cell]]:
        """Return every value as a `Cell`."""
        return [[_cell(value) for value in row] for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A picture with words.

    Attributes
    ----------
    image : path or bytes
        A PNG file or its bytes; it goes into the page.
    title : str
        Shown above it, and read out in its place.
    caption : str
        Shown below it.
    pixelated : bool
        Keep the pixels of a small image square when it is enlarged.
    """

    image: str | PathLike[str] | bytes
    title: str
    caption: str = ""
    pixelated: bool = False

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        data = self.image if isinstance(self.image, bytes) else Path(self.image).read_bytes()
        if not data.startswith(PNG):
            where = None if isinstance(self.image, bytes) else self.image
            raise UsageError("Only PNG pictures go into a report", where=where)
        return "data:image/png;base64," + base64.b64encode(data).decode()


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes
    ----------
    title : str
        The heading, also a link at the top.
    text : sequence of str
        Paragraphs.
    figures, tables : sequence
        Shown in this order, after the text.
    parts : sequence of Section
        Sub-sections, folded away.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    parts: Sequence[Section] = field(default_factory=tuple)


def render(title: str, sections: Sequence[Section], *, facts: Mapping[str, str] | None = None) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    title : str
        Of the page.
    sections : sequence of Section
        In order.
    facts : mapping, optional
        Short name -> value pairs shown under the title.
    """
    return render_page(TEMPLATES, "report", title=title, sections=sections, facts=dict(facts or {}))


def write_page(
    out: str | PathLike[str], title: str, sections: Sequence[Section], *, facts: Mapping[str, str] | None = None
) -> Path:
    """Write the page, whole or not at all; see `render`."""
    path = Path(out)
    write_atomic(path, render(title, sections, facts=facts).encode("utf-8"))
    return path


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if value is None:
        return Cell("–", sort="", tone="quiet")
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, int):
        return Cell(f"{value:,}", sort=value)
    if isinstance(value, float):
        return Cell(f"{value:.4g}", sort=value)
    return Cell(str(value))
