"""Progress bars: rate, failures and time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")


class Bar:
    """A running count of items. Call `advance` as they are done, and `skip` for those of an earlier run."""

    def __init__(self, progress: Progress, title: str, total: int | None, unit: str) -> None:
        self._progress, self._unit, self._start = progress, unit, time.monotonic()
        self.done = 0  # in this run
        self.failures = 0
        self._task = progress.add_task(title, total=total, note="")

    def skip(self, n: int) -> None:
        """Count `n` items as done earlier: they do not count for the rate."""
        self._progress.update(self._task, advance=n)

    def advance(self, n: int = 1, *, failed: int = 0, remark: str = "") -> None:
        """Count `n` items as done, `failed` of them as rejected; show a remark after the rate."""
        self.done += n
        self.failures += failed
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        note = f"{rate:,.0f} {self._unit}/s" + (f", {self.failures:,} rejected" if self.failures else "")
        note += f", {remark}" if remark else ""
        self._progress.update(self._task, advance=n, note=note)


@contextmanager
def progress(title: str, total: int | None = None, unit: str = "images") -> Iterator[Bar]:
    """Show a progress bar on standard error while the block runs; nothing if that is not a terminal.

    Parameters
    ----------
    title : str
        The task.
    total : int, optional
        Number of items, if it is known.
    unit : str
        Name of the items, in the plural.

    Yields
    ------
    Bar
        Call `advance` on it.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as shown:
        yield Bar(shown, title, total, unit)


def track(items: Iterable[T], title: str, total: int | None = None, unit: str = "images") -> Iterator[T]:
    """Yield `items`, and show a progress bar."""
    with progress(title, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
