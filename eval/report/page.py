"""One self-contained HTML page: sortable tables, embedded figures, readable on a phone.

The template escapes every text that comes from a user or a file. In addition the page has a content security policy
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
    """A value of a table with its formatting.

    Attributes
    ----------
    text : str
        The text that is shown.
    sort : float or str, optional
        The value by which the column is sorted; by default the text.
    note : str
        Small print below the text.
    tone : str
        `good`, `bad`, `quiet`, or empty.
    heat : float, optional
        Intensity of the cell's colour, from 0 to 1.
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
        Text, numbers or `Cell`, one per column.
    title : str
        Shown above the table.
    note : str
        Small print below it.
    sortable : bool
        A click on a header sorts the table.
    matrix : bool
        A confusion matrix: narrow columns with slanted headers, never sorted.
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

    def numeric(self) -> list[bool]:
        """Return which columns contain numbers: these are aligned to the right."""
        rows = self.cells()
        return [any(isinstance(row[i].sort, int | float) for row in rows) for i in range(len(self.columns))]

    def cells(self) -> list[list[Cell]]:
        """Return every value as a `Cell`."""
        return [[_cell(value) for value in row] for row in self.rows]


@dataclass(frozen=True)
class Figure:
    """A picture with a title and a caption.

    Attributes
    ----------
    image : path or bytes
        A PNG file or its bytes; it is embedded in the page.
    title : str
        Shown above it, and read aloud by screen readers.
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
            raise UsageError("Only PNG pictures can be embedded in a report", where=where)
        return "data:image/png;base64," + base64.b64encode(data).decode()


@dataclass(frozen=True)
class Contrast:
    """One row of a verdict: the difference of two models in one test.

    Attributes
    ----------
    test, note : str
        The test, and small print below it.
    value : float
        The difference in percentage points.
    low, high : float or None
        Its interval.
    outcome, detail : str
        The result in words, and small print below it.
    tone : str
        As in `Cell`.
    """

    test: str
    note: str
    value: float
    low: float | None
    high: float | None
    outcome: str
    detail: str = ""
    tone: str = ""

    @property
    def words(self) -> str:
        """The difference with its interval, as text."""
        low_high = "" if self.low is None or self.high is None else f" [{_signed(self.low)}, {_signed(self.high)}]"
        return f"{_signed(self.value)}{low_high}"


@dataclass(frozen=True)
class Verdict:
    """A sentence on two models, and the differences it is based on as a plot: one row per test, zero in the middle.

    Attributes
    ----------
    sentence : str
        The verdict.
    left, right : str
        What a difference below or above zero means.
    rows : sequence of Contrast
        One per test.
    """

    sentence: str
    left: str
    right: str
    rows: Sequence[Contrast]

    @property
    def reach(self) -> float:
        """The difference at either end of the plot, in percentage points."""
        ends = [abs(end) for row in self.rows for end in (row.value, row.low, row.high) if end is not None]
        return next(end for end in (5.0, 10.0, 20.0, 30.0, 50.0, 100.0) if end >= min(max(ends, default=0.0), 100.0))

    def across(self, points: float) -> str:
        """Return the place of a difference on the plot, in per cent from the left."""
        return f"{50 + 50 * max(-1.0, min(1.0, points / self.reach)):.2f}"


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes
    ----------
    title : str
        The heading, also shown as a link at the top of the page.
    text : sequence of str
        Paragraphs.
    points : sequence of str
        A list, after the text.
    verdicts, figures, tables : sequence
        Shown in this order, after the text.
    note : str
        Small print after them.
    parts : sequence of Section
        Sub-sections, collapsed at first.
    folded : bool
        The section itself is collapsed at first.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    parts: Sequence[Section] = field(default_factory=tuple)
    verdicts: Sequence[Verdict] = ()
    points: Sequence[str] = ()
    note: str = ""
    folded: bool = False


def render(
    title: str,
    sections: Sequence[Section],
    *,
    facts: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML.

    Parameters
    ----------
    title : str
        Title of the page.
    sections : sequence of Section
    facts : mapping, optional
        Pairs of name and value, shown under the title.
    links : mapping, optional
        Files next to the page: their name and relative address.
    """
    return render_page(
        TEMPLATES, "report", title=title, sections=sections, facts=dict(facts or {}), links=dict(links or {})
    )


def write_page(
    out: str | PathLike[str],
    title: str,
    sections: Sequence[Section],
    *,
    facts: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> Path:
    """Write the page atomically; see `render`."""
    path = Path(out)
    write_atomic(path, render(title, sections, facts=facts, links=links).encode("utf-8"))
    return path


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\u2212")  # a minus sign is as wide as a plus sign


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
