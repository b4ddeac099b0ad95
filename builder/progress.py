"""The one way to show progress: a bar with rate, failures and time left on a terminal, nothing elsewhere."""

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
    """One running count. `advance` as work is done, `failed` counts what was refused."""

    def __init__(self, progress: Progress, title: str, total: int | None, unit: str) -> None:
        self._progress, self._unit, self._start = progress, unit, time.monotonic()
        self.done = 0
        self.failures = 0
        self._task = progress.add_task(title, total=total, note="")

    def advance(self, n: int = 1, *, failed: int = 0) -> None:
        """Count `n` items as done, `failed` of them as refused."""
        self.done += n
        self.failures += failed
        rate = self.done / max(time.monotonic() - self._start, 1e-9)
        note = f"{rate:,.0f} {self._unit}/s" + (f", {self.failures:,} refused" if self.failures else "")
        self._progress.update(self._task, advance=n, note=note)


@contextmanager
def progress(title: str, total: int | None = None, unit: str = "images") -> Iterator[Bar]:
    """Show a bar on standard error while the block runs; silent when that is no terminal.

    Parameters
    ----------
    title : str
        What is being done.
    total : int, optional
        How many items there are, where it is known.
    unit : str
        What an item is.

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
    """Yield `items`, showing how far along they are."""
    with progress(title, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()
