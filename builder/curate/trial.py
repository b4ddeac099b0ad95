"""Find the source images that end the process that reads them: process each in a child, and look how the child ends.

The child is this module, started as a program. It reads its task from the first line of its input, and writes one line
per finished image. It ends when its input is closed: no child outlives the worker that started it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict

from ..child import command_of
from ..errors import CytoImageNetError
from ..images.channel_reader import Reader
from ..images.make import PixelSettings, SourceImage, images_of
from ..images.quality import Verdict
from .guard import ImageLimits, ended_by_timer, one_image

TRIES = 2  # processes that a source image may end before it is rejected; one may have been ended by something else
CRASHED = Verdict("unreadable", "the process that read it died, twice")
_READY, _FINISHED, _FAILED = "ready\n", "finished\n", "failed "


def verdicts(
    rows: Sequence[SourceImage], raw: str, pixels: PixelSettings, limits: ImageLimits | None
) -> dict[str, Verdict]:
    """Process source images in a child process, and return the verdict on each that ends it, by its `idx`.

    Parameters
    ----------
    rows : sequence of SourceImage
    raw : str
        Folder or URL of the sources.
    pixels : PixelSettings
    limits : ImageLimits, optional

    Raises
    ------
    CytoImageNetError
        If the child can't be started, or fails for a reason that no image is to blame for.
    """
    found: dict[str, Verdict] = {}
    deaths: dict[str, int] = {}
    left = list(rows)
    while left:
        finished, status = _process(left, raw, pixels, limits)
        left = left[finished:]
        if not left:
            break
        at_fault = left[0]
        deaths[at_fault.idx] = deaths.get(at_fault.idx, 0) + 1
        if limits is not None and ended_by_timer(status):
            found[at_fault.idx] = limits.too_slow
        elif deaths[at_fault.idx] >= TRIES:
            found[at_fault.idx] = CRASHED
        if at_fault.idx in found:
            left = left[1:]
    return found


def _process(
    rows: Sequence[SourceImage], raw: str, pixels: PixelSettings, limits: ImageLimits | None
) -> tuple[int, int]:
    """Process source images in a child process; return the number of finished ones, and its exit status."""
    task = json.dumps([[list(row) for row in rows], raw, asdict(pixels), limits])
    with subprocess.Popen(command_of(__name__), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{task}\n")
            child.stdin.flush()  # and left open, see `main`
            lines = list(child.stdout)
        except BaseException:
            child.kill()
            raise
    failed = [line.removeprefix(_FAILED) for line in lines if line.startswith(_FAILED)]
    if failed or _READY not in lines:
        what = failed[0].strip() if failed else "the process that tries single images does not start"
        raise CytoImageNetError(
            f"Images can't be tried one by one: {what}", where=raw, next="Run the same command again"
        )
    return lines.count(_FINISHED), child.returncode


def main() -> None:
    """Process the source images of the task on the first line of the input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends, and this process with it
    rows, raw, pixels, limits = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = PixelSettings(**pixels | {"match_shapes": tuple(map(tuple, pixels["match_shapes"]))})
    reader = Reader(raw)
    _report(_READY)
    for row in rows:
        with one_image(limits and ImageLimits(*limits)):
            try:
                for _ in images_of(SourceImage(*row), reader, settings):
                    pass
            except Exception as error:  # not of the image: those are verdicts
                _report(f"{_FAILED}{' '.join(f'{type(error).__name__}: {error}'.split())}\n")
                os._exit(1)
        _report(_FINISHED)
    os._exit(0)  # a thread still waits for the end of the input


def _report(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
